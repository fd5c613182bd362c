/* The members of an object in the order in which they are written. */

#ifndef OTEL_AUDIT_MEMBERS_H
#define OTEL_AUDIT_MEMBERS_H

#include "native.h"

#define MOST_MEMBERS 64

typedef struct {
    uint64_t beginning; /* the first eight bytes of the name as a number that sorts as they do */
    const char *name;
    Py_ssize_t length;
    PyObject *value;
} Member;

typedef struct {
    Member member[MOST_MEMBERS];
    Py_ssize_t count;
} Members;

static inline uint64_t
read_beginning(PyObject *name)
{
    const char *text = ascii_of(name);
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    uint64_t beginning = 0;
    if (length >= 8) { /* compilers make one load of this */
        for (int byte = 0; byte < 8; byte++)
            beginning = beginning << 8 | (unsigned char)text[byte];
        return beginning;
    }
    for (int byte = 0; byte < length; byte++)
        beginning |= (uint64_t)(unsigned char)text[byte] << (56 - 8 * byte);
    return beginning;
}

static inline int
comes_before(const Member *one, const Member *other)
{
    if (one->beginning != other->beginning)
        return one->beginning < other->beginning;
    Py_ssize_t shorter = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->name, other->name, (size_t)shorter);
    return order < 0 || (order == 0 && one->length < other->length);
}

/* Put a member where its name belongs, if there is room. Compares bytes: JCS sorts names of ASCII alike. */
static inline int
insert(Members *members, uint64_t beginning, PyObject *name, PyObject *value)
{
    if (members->count == MOST_MEMBERS)
        return NOT_PLAIN;
    Member added = {beginning, ascii_of(name), PyUnicode_GET_LENGTH(name), value};
    Member *place = &members->member[members->count++];
    for (; place > members->member && !comes_before(place - 1, &added); place--)
        *place = *(place - 1);
    *place = added;
    return WRITTEN;
}

#endif
