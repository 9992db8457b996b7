// The popover with a time in UTC: one for all times of the page.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { time, utc } from "../text";

const timeAt = (target: EventTarget | null) =>
  target instanceof Element ? target.closest<HTMLElement>("[data-at]") : null;

/** Beside the time (`Time`) that is pointed at, touched or focused. Escape closes it. */
export function Utc() {
  const box = useRef<HTMLDivElement>(null);
  const [of, setOf] = useState<HTMLElement | null>(null);
  const beside = (target: HTMLElement) => {
    const popover = box.current!;
    const { left, bottom, top } = target.getBoundingClientRect();
    const { width, height } = popover.getBoundingClientRect();
    popover.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    popover.style.top = `${bottom + height + 8 < innerHeight ? bottom + 4 : top - height - 4}px`;
  };
  useEffect(() => {
    const show = ({ target }: Event) => {
      if (!box.current?.contains(target as Node)) setOf(timeAt(target) ?? timeAt(document.activeElement));
    };
    const escape = ({ key }: KeyboardEvent) => key === "Escape" && setOf(null);
    const move = () => {
      const focused = timeAt(document.activeElement);
      setOf(focused);
      if (focused) beside(focused);
    };
    const shows = ["pointerover", "focusin", "click"];
    for (const kind of shows) document.addEventListener(kind, show);
    document.addEventListener("keydown", escape);
    document.addEventListener("scroll", move, { capture: true, passive: true });
    return () => {
      for (const kind of shows) document.removeEventListener(kind, show);
      document.removeEventListener("keydown", escape);
      document.removeEventListener("scroll", move, { capture: true });
    };
  }, []);
  useLayoutEffect(() => {
    const shown = of !== null && of.isConnected;
    box.current!.togglePopover(shown);
    if (shown) beside(of);
  }, [of]);
  const at = of?.dataset.at ?? "";
  return (
    <div ref={box} popover="manual" role="tooltip" class="utc">
      {of && (
        <>
          {time(at)}
          <br />
          {utc(at)}
        </>
      )}
    </div>
  );
}
