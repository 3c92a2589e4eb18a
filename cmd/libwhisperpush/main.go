//go:build cgo

// Command libwhisperpush is package phone for C: built with -buildmode=c-shared or c-archive it
// is a library with the functions of whisperpush.h.
package main

/*
#include <stdint.h>
#include <stdlib.h>
#define WHISPERPUSH_TYPES_ONLY
#include "whisperpush.h"

static int wp_show(const wp_screen *s, const char *text) { return s->show(s->context, text); }
static int wp_remove(const wp_screen *s, const char *id) { return s->remove(s->context, id); }
static int wp_badge(const wp_screen *s, int count) { return s->set_badge(s->context, count); }

// A wp_phone is a number, which is never taken for an address.
static uintptr_t wp_number(wp_phone *phone) { return (uintptr_t)phone; }
static wp_phone *wp_pointer(uintptr_t number) { return (wp_phone *)number; }
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"whisperpush/pushext/client/phone"
)

// maxPush is the longest push that is copied, in bytes.
const maxPush = 16 << 10

// phones are those that are open, by their numbers, which are not given out again.
type phones struct {
	mu   sync.Mutex // guards the following
	all  map[uintptr]*phone.App
	last uintptr
}

var open = phones{all: make(map[uintptr]*phone.App)} // C has no other place for it

func (o *phones) add(p *phone.App) *C.wp_phone {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	o.all[o.last] = p
	return C.wp_pointer(C.uintptr_t(o.last))
}

var errClosed = errors.New("this phone is not open")

func (o *phones) get(p *C.wp_phone, take bool) (*phone.App, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	number := uintptr(C.wp_number(p))
	found := o.all[number]
	if found == nil {
		return nil, errClosed
	}
	if take {
		delete(o.all, number)
	}
	return found, nil
}

// screen is a wp_screen.
type screen struct{ s C.wp_screen }

func said(what string, code C.int) error {
	if code != 0 {
		return fmt.Errorf("the platform's %s returned %d", what, int(code))
	}
	return nil
}

// Show implements phone.Screen.
func (s *screen) Show(notification string) error {
	text := C.CString(notification)
	defer C.free(unsafe.Pointer(text))
	return said("show", C.wp_show(&s.s, text))
}

// Remove implements phone.Screen.
func (s *screen) Remove(id string) error {
	text := C.CString(id)
	defer C.free(unsafe.Pointer(text))
	return said("remove", C.wp_remove(&s.s, text))
}

// SetBadge implements phone.Screen.
func (s *screen) SetBadge(count int) error { return said("set_badge", C.wp_badge(&s.s, C.int(count))) }

// fail puts an error where the caller wants it.
func fail(err error, into **C.char) {
	if into == nil {
		return
	}
	*into = nil
	if err != nil {
		*into = C.CString(err.Error())
	}
}

// text is that of a caller.
func text(s *C.char) string {
	if s == nil {
		return ""
	}
	return C.GoString(s)
}

//export wp_open
func wp_open(settings *C.char, s *C.wp_screen, failed **C.char) *C.wp_phone {
	if s == nil || s.show == nil || s.remove == nil || s.set_badge == nil {
		fail(errors.New("the screen, or one of its functions, is missing"), failed)
		return nil
	}
	p, err := phone.Open(text(settings), &screen{*s})
	fail(err, failed)
	if err != nil {
		return nil
	}
	return open.add(p)
}

//export wp_call
func wp_call(of *C.wp_phone, name, arguments *C.char, failed **C.char) *C.char {
	p, err := open.get(of, false)
	var answer string
	if err == nil {
		answer, err = p.Call(text(name), text(arguments))
	}
	return give(answer, err, failed)
}

//export wp_receive
func wp_receive(of *C.wp_phone, platform *C.char, push unsafe.Pointer, length C.size_t, failed **C.char) *C.char {
	p, err := open.get(of, false)
	if err == nil && (push == nil || length > maxPush) {
		err = fmt.Errorf("a push has 1 to %d bytes, and not %d", maxPush, uint64(length))
	}
	var answer string
	if err == nil {
		answer, err = p.Receive(text(platform), C.GoBytes(push, C.int(length)))
	}
	return give(answer, err, failed)
}

// give returns an answer, and NULL for none.
func give(answer string, err error, failed **C.char) *C.char {
	fail(err, failed)
	if answer == "" {
		return nil
	}
	return C.CString(answer)
}

//export wp_act
func wp_act(directory, action *C.char, failed **C.char) C.int {
	return code(phone.Act(text(directory), text(action)), failed)
}

//export wp_close
func wp_close(of *C.wp_phone, failed **C.char) C.int {
	p, err := open.get(of, true)
	if err == nil {
		err = p.Close()
	}
	return code(err, failed)
}

func code(err error, failed **C.char) C.int {
	fail(err, failed)
	if err != nil {
		return 1
	}
	return 0
}

//export wp_free
func wp_free(s *C.char) { C.free(unsafe.Pointer(s)) }

func main() {} // of a program that is a library
