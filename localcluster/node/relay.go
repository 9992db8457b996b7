package main

import (
	"flag"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// relay copies connections from one socket to another, for example
//
//	relay --until-exit 4711 tcp 127.0.0.1:6443 unix /state/api.sock
//
// It is the only way into the node's network. With --until-exit it ends with that process, so that the
// half that runs outside the node never outlives the node.
func relay(args []string) {
	flags := flag.NewFlagSet("relay", flag.ExitOnError)
	pid := flags.Int("until-exit", 0, "end when the process with this id ends")
	_ = flags.Parse(args)
	if flags.NArg() != 4 {
		log.Fatal("usage: relay [--until-exit PID] NETWORK ADDRESS NETWORK ADDRESS")
	}
	if *pid != 0 {
		go exitWith(*pid)
	}
	listenNet, listenAddr, dialNet, dialAddr := flags.Arg(0), flags.Arg(1), flags.Arg(2), flags.Arg(3)
	if listenNet == "unix" {
		_ = os.Remove(listenAddr)
	}
	listener, err := net.Listen(listenNet, listenAddr)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go splice(conn, dialNet, dialAddr)
	}
}

func splice(in net.Conn, dialNet, dialAddr string) {
	defer in.Close()
	out, err := net.Dial(dialNet, dialAddr)
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{}, 2)
	pipe := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		if c, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		done <- struct{}{}
	}
	go pipe(out, in)
	go pipe(in, out)
	<-done
	<-done
}

func exitWith(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		log.Fatalf("process %d: %v", pid, err)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(fds, -1); n > 0 || (err != nil && err != unix.EINTR) {
			os.Exit(0)
		}
	}
}
