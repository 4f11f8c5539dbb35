package gotest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestHostToolAnswers(t *testing.T) {
	out, err := exec.Command("/bin/echo", "one", "two words").Output()
	if err != nil || string(out) != "one two words\n" {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestHostToolReadsAndFails(t *testing.T) {
	tool := exec.Command("/bin/sh", "-c", `read line; echo "$line" "$WORD"; exit 7`)
	tool.Stdin = strings.NewReader("given\n")
	tool.Env = append(os.Environ(), "WORD=word")
	out, err := tool.Output()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 7 || string(out) != "given word\n" {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestHostToolsRunSideBySide(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			word := fmt.Sprint(i)
			out, err := exec.Command("/bin/echo", word).Output()
			if err != nil || strings.TrimSpace(string(out)) != word {
				t.Errorf("%d: %q, %v", i, out, err)
			}
		})
	}
	all.Wait()
}

func TestHostToolIsKilled(t *testing.T) {
	tool := exec.Command("/bin/sleep", "1000")
	if err := tool.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tool.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := tool.Wait()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatal(err)
	}
}

func TestMissingToolIsNotFound(t *testing.T) {
	if err := exec.Command("/nowhere/at/all").Run(); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestPipeCarriesAMegabyte(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer w.Close()
		for i := range 16 * 1024 {
			fmt.Fprintf(w, "%063d\n", i)
		}
	}()
	lines := 0
	for scan := bufio.NewScanner(r); scan.Scan(); lines++ {
		if want := fmt.Sprintf("%063d", lines); scan.Text() != want {
			t.Fatalf("line %d: %s", lines, scan.Text())
		}
	}
	if lines != 16*1024 {
		t.Fatalf("%d lines", lines)
	}
}

func TestClosingAPipeWakesItsReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ended := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	r.Close()
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

func TestLoopbackEchoes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			sent := strings.Repeat(fmt.Sprint(i), 10000)
			go func() {
				io.WriteString(conn, sent)
				conn.(*net.TCPConn).CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || string(got) != sent {
				t.Errorf("%d: %d of %d bytes, %v", i, len(got), len(sent), err)
			}
		})
	}
	all.Wait()
}

func TestReadDeadlineEndsARead(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestWebServerAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "answer to ", r.URL.Path)
	})}
	go server.Serve(listener)
	defer server.Close()
	answer, err := http.Get("http://" + listener.Addr().String() + "/asked")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "answer to /asked" {
		t.Fatalf("%q, %v", body, err)
	}
}

func TestRefusedConnectionIsRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
}

func TestUnixSocketEchoes(t *testing.T) {
	// Not t.TempDir: its name can be longer than a socket's may be.
	dir, err := os.MkdirTemp("", "go")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "word")
	conn.(*net.UnixConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "word" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestFilesKeepWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("kept"), 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 4 || info.Mode() != 0o640 {
		t.Fatalf("%v, %v", info, err)
	}
	if err := os.Rename(name, name+"2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file2", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "link")); err != nil || string(got) != "kept" {
		t.Fatalf("%q, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "file2" || entries[1].Name() != "link" {
		t.Fatalf("%v, %v", entries, err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestSignalToSelfIsNotified(t *testing.T) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGUSR1)
	defer signal.Stop(came)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := <-came; got != syscall.SIGUSR1 {
		t.Fatal(got)
	}
}
