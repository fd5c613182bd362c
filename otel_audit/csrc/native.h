/* What the parts written in C share. What each returns is what the Python beside it would have. */

#ifndef OTEL_AUDIT_NATIVE_H
#define OTEL_AUDIT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_SAFE_INTEGER 9007199254740991LL
#define MOST_DIGITS 20

/* What writes returns one of these: `FAILED` with an exception set, `NOT_PLAIN` where Python has to look. */
enum { FAILED = -1, NOT_PLAIN = 0, WRITTEN = 1 };

typedef struct {
    PyTypeObject *words;
    PyObject *copy, *update, *hexdigest; /* names of a hash object's methods */
} State;

typedef struct Words Words;

/* Tell whether one of the words stands in this text. */
int holds_one(const Words *words, const unsigned char *text, Py_ssize_t length);

extern PyType_Spec words_spec, encoder_spec, chain_spec, leaves_spec;

static inline int
is_ascii(PyObject *text)
{
    return PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text);
}

static inline const char *
ascii_of(PyObject *text)
{
    return (const char *)PyUnicode_1BYTE_DATA(text);
}

static inline char *
put(char *at, const char *text, Py_ssize_t length)
{
    memcpy(at, text, (size_t)length);
    return at + length;
}

/* Spell a number so that it ends before `end`; return where it begins. */
static inline const char *
spell(long long number, char *end)
{
    char *at = end;
    for (long long rest = number < 0 ? -number : number; rest > 0 || at == end; rest /= 10)
        *--at = (char)('0' + rest % 10);
    if (number < 0)
        *--at = '-';
    return at;
}

#endif
