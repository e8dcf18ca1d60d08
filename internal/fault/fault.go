// Package fault gives errors a class: what kind of trouble this is, for the one who must react.
//
// An error made here carries a class (what to do about it), a code (stable, for programs), a
// sentence (for the person) and, wrapped, its cause (for the log). The package knows no HTTP:
// statuses are given at the door, where a class becomes one.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Class says what kind of trouble an error is. A Class is itself an error, so that
// errors.Is(err, fault.NotFound) asks for it.
type Class string

const (
	Invalid     Class = "invalid"     // the request cannot be right, whenever it is sent
	Denied      Class = "denied"      // known to exist, not allowed
	NotFound    Class = "not_found"   // not there, or not for this person to know
	Conflict    Class = "conflict"    // right in itself, but not in the present state
	Unsupported Class = "unsupported" // understood, and we do not do it
	Exhausted   Class = "exhausted"   // a limit is reached: memory, quota, size, rate
	Unavailable Class = "unavailable" // may work later
	Internal    Class = "internal"    // our mistake
)

// Classes lists every class, for tables that must be complete.
func Classes() []Class {
	return []Class{Invalid, Denied, NotFound, Conflict, Unsupported, Exhausted, Unavailable, Internal}
}

func (c Class) Error() string { return string(c) }

// Error is an error with a class. The zero value is of class Internal.
type Error struct {
	Class    Class
	Code     string // stable, snake_case, for programs
	Sentence string // for the person who asked; holds no secret, no path of the host
	Cause    error  // for the log; may be nil
}

// New makes an error without a cause.
func New(class Class, code, sentence string) *Error {
	return &Error{Class: class, Code: code, Sentence: sentence}
}

// Newf is New with a formatted sentence. For a cause use Wrap: a %w here would be shown to the person.
func Newf(class Class, code, format string, args ...any) *Error {
	return New(class, code, fmt.Sprintf(format, args...))
}

// Wrap gives err a class, a code and a sentence. It answers nil for a nil err.
func Wrap(class Class, code, sentence string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Class: class, Code: code, Sentence: sentence, Cause: err}
}

func (e *Error) Error() string {
	text := e.Sentence
	if text == "" {
		text = e.Code
	}
	if text == "" {
		text = string(ClassOf(e))
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// Is lets errors.Is match this error's class.
// A class deeper in the chain does not count: the outermost one decides (see ClassOf).
func (e *Error) Is(target error) bool {
	class, ok := target.(Class)
	return ok && class == e.class()
}

func (e *Error) class() Class {
	if e.Class == "" {
		return Internal
	}
	return e.Class
}

// ClassOf answers the class of the outermost classed error in err's chain. Errors of the standard
// library that speak for themselves have one too; anything else is Internal. A nil err has none.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	var e *Error
	var class Class
	switch {
	case errors.As(err, &e):
		return e.class()
	case errors.As(err, &class):
		return class
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrExist):
		return Conflict
	case errors.Is(err, fs.ErrPermission):
		return Denied
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Unavailable
	}
	return Internal
}

// CodeOf answers the stable code of the outermost classed error, else its class.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != "" {
		return e.Code
	}
	return string(ClassOf(err))
}

// Sentence answers what may be shown to the person who asked: never a cause, which may name what is
// not theirs to know.
func Sentence(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Sentence != "" {
		return e.Sentence
	}
	return plain[ClassOf(err)]
}

// plain is what we say of an error that brought no sentence of its own.
var plain = map[Class]string{
	Invalid:     "The request is not valid.",
	Denied:      "This is not allowed.",
	NotFound:    "There is nothing here by that name.",
	Conflict:    "This cannot be done in the present state.",
	Unsupported: "This is not supported.",
	Exhausted:   "A limit is reached.",
	Unavailable: "This is not available just now.",
	Internal:    "Something went wrong on our side.",
}

// Detail answers the whole chain, for the log.
func Detail(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("%s/%s: %v", ClassOf(err), CodeOf(err), err)
}
