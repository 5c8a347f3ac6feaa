// Command smscstub is the other end of make bench-smpp: an SMSC that answers at
// once and keeps nothing, so that what is measured is the client. It prints its
// address and ends with its stdin.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

const (
	headerLen   = 16
	responseBit = 0x80000000
	submitSM    = 0x00000004
	buffers     = 256 << 10
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go serve(conn)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve answers until the connection ends; the answers to what came together go
// out together.
func serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in, out := bufio.NewReaderSize(conn, buffers), bufio.NewWriterSize(conn, buffers)
	var header [headerLen]byte
	for {
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(header[:])) - headerLen); err != nil {
			return
		}
		command, body := binary.BigEndian.Uint32(header[4:]), ""
		switch {
		case command&responseBit != 0:
			continue
		case command == submitSM:
			body = "0123456789\x00"
		case command < submitSM || command == 9: // a bind
			body = "stub\x00"
		}
		binary.BigEndian.PutUint32(header[:], uint32(headerLen+len(body)))
		binary.BigEndian.PutUint32(header[4:], command|responseBit)
		_, _ = out.Write(header[:])
		_, _ = out.WriteString(body)
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
	}
}
