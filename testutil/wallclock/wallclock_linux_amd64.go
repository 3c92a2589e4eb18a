package wallclock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// function is the name by which programs find the clock in the vDSO.
const function = "__vdso_clock_gettime"

// body is the new body of the function. It is called with the clock's number in EDI, 0 for
// CLOCK_REALTIME, and with the address of seconds and nanoseconds in RSI.
//
//	mov  eax, 228         ; the system call clock_gettime
//	syscall
//	test edi, edi
//	jne  out
//	add  qword [rsi], offset
//	out: ret
var body = []byte{0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 7, 0x48, 0x81, 0x06, 0, 0, 0, 0, 0xc3}

// offsetAt is the place of the offset in body, a little-endian int32 of seconds.
const offsetAt = 14

const (
	// attempts is how many times a process is stopped until none of its threads is where
	// the new body goes.
	attempts = 1000
	// patience is how long the threads of a process may take to stop.
	patience = 5 * time.Second
)

// Shift makes the wall clock of a process wrong by the given whole seconds, instead of
// what it was wrong by before; zero corrects it. The process is stopped for a few
// milliseconds. Nobody else may stop it at the same time.
func Shift(pid int, by time.Duration) error {
	if by.Abs() > math.MaxInt32*time.Second {
		return fmt.Errorf("set the clock of process %d: %v is more than 68 years", pid, by)
	}
	if err := shift(pid, int32(by/time.Second)); err != nil {
		return fmt.Errorf("set the clock of process %d: %w", pid, err)
	}
	return nil
}

func shift(pid int, seconds int32) error {
	from, to, err := mapping(pid)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	at, err := find(memory, from, to)
	if err != nil {
		return err
	}
	want := slices.Clone(body)
	binary.LittleEndian.PutUint32(want[offsetAt:], uint32(seconds))
	there := make([]byte, len(body))
	if _, err := memory.ReadAt(there, at); err != nil {
		return err
	}
	ours := bytes.Equal(there[:offsetAt], body[:offsetAt])
	for range attempts {
		// A thread inside the original body runs it to its end first. A thread inside our
		// body finds the same instructions.
		written, err := write(pid, memory, want, at, func(pc uint64) bool {
			return ours || pc <= uint64(at) || pc >= uint64(at)+uint64(len(body))
		})
		if err != nil || written {
			return err
		}
	}
	return errors.New("some thread of it always begins to read the clock")
}

// mapping returns where the vDSO is in the memory of a process.
func mapping(pid int) (from, to uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, errors.New("it has no vDSO")
}

// find returns where the function is in memory.
func find(memory *os.File, from, to uint64) (int64, error) {
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, int64(from)); err != nil {
		return 0, err
	}
	vdso, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := vdso.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name != function {
			continue
		}
		if s.Size < uint64(len(body)) || s.Value+uint64(len(body)) > uint64(len(image)) {
			return 0, fmt.Errorf("%s has no room, %d bytes", function, s.Size)
		}
		return int64(from + s.Value), nil
	}
	return 0, fmt.Errorf("the vDSO has no %s", function)
}

// write stops a process, writes to its memory if all its threads are where they may be,
// and lets it go on.
func write(pid int, memory *os.File, b []byte, at int64, allowed func(pc uint64) bool) (written bool, err error) {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return false, err
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	counters, err := stopped(pid)
	if err != nil || slices.ContainsFunc(counters, func(pc uint64) bool { return !allowed(pc) }) {
		return false, err
	}
	_, err = memory.WriteAt(b, at)
	return err == nil, err
}

// stopped waits until all threads of a process are stopped, and returns the program
// counter of each.
func stopped(pid int) (counters []uint64, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return nil, err
		}
		counters = counters[:0]
		for _, thread := range threads {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, thread.Name()))
			if err != nil {
				return nil, err
			}
			if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
				break
			}
			doing, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, thread.Name()))
			if err != nil {
				return nil, err
			}
			// The last word is the program counter, whether or not it is in a system call.
			words := strings.Fields(string(doing))
			pc, err := strconv.ParseUint(words[len(words)-1], 0, 64)
			if err != nil {
				break // it is running
			}
			counters = append(counters, pc)
		}
		if len(counters) == len(threads) {
			return counters, nil
		}
	}
	return nil, errors.New("it does not stop")
}
