/* Chain: seals records, one behind the other. Its twin is `sealing.py`.
 *
 * It runs the methods of a hash object, which may let go of the interpreter's lock: whoever seals holds the stream's.
 */

#include "native.h"
#include <stddef.h>
#include <structmember.h>

#define HASH_LENGTH 64
#define LENGTH_OF(text) ((Py_ssize_t)sizeof text - 1)
#define PUT(at, text) put(at, text, LENGTH_OF(text))
#define HASH_MEMBER_LENGTH (LENGTH_OF(",\"hash\":\"\"\n") + HASH_LENGTH)

typedef struct {
    PyObject_HEAD
    PyObject *last; /* where the last record stands: a tuple of stream, number, hash or None */
    PyObject *leaf; /* a hash object that has taken the byte with which a leaf begins */
} Chain;

static int
is_place(PyObject *last)
{
    return PyTuple_Check(last) && PyTuple_GET_SIZE(last) == 3 && is_ascii(PyTuple_GET_ITEM(last, 0)) &&
           PyLong_CheckExact(PyTuple_GET_ITEM(last, 1)) &&
           (PyTuple_GET_ITEM(last, 2) == Py_None || is_ascii(PyTuple_GET_ITEM(last, 2)));
}

/* Return the number behind the last one; -1 if there is none. */
static long long
next_number(PyObject *last)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(last, 1), &overflow);
    if (!overflow && number >= 0 && number < MOST_SAFE_INTEGER)
        return number + 1;
    PyErr_SetString(PyExc_OverflowError, "no record has a number beyond 2^53");
    return -1;
}

/* Return what is hashed: the head, what binds it to the record before it, and the last brace. `end_line` finds room
 * behind it: to move the line would cost more than all that is done to it here. */
static PyObject *
begin_line(PyObject *head, PyObject *last, long long number)
{
    PyObject *stream = PyTuple_GET_ITEM(last, 0), *prev_hash = PyTuple_GET_ITEM(last, 2);
    int is_first = prev_hash == Py_None;
    char digits[MOST_DIGITS], *end = digits + MOST_DIGITS;
    const char *seq = spell(number, end);
    Py_ssize_t length = PyBytes_GET_SIZE(head) + (end - seq) + PyUnicode_GET_LENGTH(stream) +
                        LENGTH_OF(",\"seq\":,\"stream\":\"\"}");
    if (!is_first)
        length += PyUnicode_GET_LENGTH(prev_hash) + LENGTH_OF(",\"prev_hash\":\"\"");
    PyObject *canonical = PyBytes_FromStringAndSize(NULL, length + HASH_MEMBER_LENGTH);
    if (canonical == NULL)
        return NULL;
    Py_SET_SIZE(canonical, length);
    char *at = put(PyBytes_AS_STRING(canonical), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head));
    if (!is_first) {
        at = PUT(at, ",\"prev_hash\":\"");
        at = put(at, ascii_of(prev_hash), PyUnicode_GET_LENGTH(prev_hash));
        at = PUT(at, "\"");
    }
    at = PUT(at, ",\"seq\":");
    at = put(at, seq, end - seq);
    at = PUT(at, ",\"stream\":\"");
    at = put(at, ascii_of(stream), PyUnicode_GET_LENGTH(stream));
    PUT(at, "\"}");
    return canonical;
}

static PyObject *
hash_of(PyObject *canonical, PyObject *leaf, const State *state)
{
    PyObject *hashed = PyObject_CallMethodNoArgs(leaf, state->copy);
    PyObject *updated = hashed == NULL ? NULL : PyObject_CallMethodOneArg(hashed, state->update, canonical);
    PyObject *digest = updated == NULL ? NULL : PyObject_CallMethodNoArgs(hashed, state->hexdigest);
    Py_XDECREF(updated);
    Py_XDECREF(hashed);
    if (digest != NULL && !(is_ascii(digest) && PyUnicode_GET_LENGTH(digest) == HASH_LENGTH)) {
        PyErr_SetString(PyExc_TypeError, "a hash is 64 hex digits");
        Py_CLEAR(digest);
    }
    return digest;
}

/* Make what was hashed the whole line. Not if the hash object has kept it: bytes that others hold must not change. */
static int
end_line(PyObject *line, PyObject *digest)
{
    if (Py_REFCNT(line) != 1) {
        PyErr_SetString(PyExc_TypeError, "a hash object must not keep what it has hashed");
        return -1;
    }
    char *at = PyBytes_AS_STRING(line) + PyBytes_GET_SIZE(line) - 1; /* without the brace */
    Py_SET_SIZE(line, PyBytes_GET_SIZE(line) + HASH_MEMBER_LENGTH);
    at = PUT(at, ",\"hash\":\"");
    at = put(at, ascii_of(digest), HASH_LENGTH);
    PUT(at, "\"}\n");
    return 0;
}

/* Return where a record stands, as `last` says it: of the same type, which is a tuple's without anything added. */
static PyObject *
place_behind(PyObject *last, long long number, PyObject *digest)
{
    PyTypeObject *type = Py_TYPE(last);
    PyObject *seq = PyLong_FromLongLong(number), *place = seq == NULL ? NULL : type->tp_alloc(type, 3);
    if (place == NULL) {
        Py_XDECREF(seq);
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030E0000
    ((PyTupleObject *)place)->ob_hash = -1; /* unknown yet: since 3.14 a tuple keeps its hash, and zero is one */
#endif
    PyTuple_SET_ITEM(place, 0, Py_NewRef(PyTuple_GET_ITEM(last, 0)));
    PyTuple_SET_ITEM(place, 1, seq);
    PyTuple_SET_ITEM(place, 2, Py_NewRef(digest));
    return place;
}

static PyObject *
chain_seal(PyObject *object, PyObject *head)
{
    Chain *self = (Chain *)object;
    if (!PyBytes_CheckExact(head)) {
        PyErr_SetString(PyExc_TypeError, "a head is bytes");
        return NULL;
    }
    PyObject *last = Py_NewRef(self->last), *line = NULL, *digest = NULL, *place = NULL;
    long long number = next_number(last);
    if (number > 0)
        line = begin_line(head, last, number);
    if (line != NULL)
        digest = hash_of(line, self->leaf, PyType_GetModuleState(Py_TYPE(object)));
    if (digest != NULL && end_line(line, digest) == 0)
        place = place_behind(last, number, digest);
    if (place != NULL)
        Py_SETREF(self->last, place);
    else
        Py_CLEAR(line);
    Py_XDECREF(digest);
    Py_DECREF(last);
    return line;
}

static int
set_last(Chain *self, PyObject *last)
{
    if (!is_place(last)) {
        PyErr_SetString(PyExc_TypeError, "a place is a tuple of a stream, a number, and a hash or None");
        return -1;
    }
    Py_XSETREF(self->last, Py_NewRef(last));
    return 0;
}

static PyObject *
chain_rewind(PyObject *object, PyObject *last)
{
    if (set_last((Chain *)object, last) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
chain_get(PyObject *object, void *item)
{
    return Py_NewRef(PyTuple_GET_ITEM(((Chain *)object)->last, (Py_ssize_t)item));
}

static PyObject *
chain_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"last", "leaf", NULL};
    PyObject *last, *leaf;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Chain", names, &last, &leaf))
        return NULL;
    Chain *self = (Chain *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->leaf = Py_NewRef(leaf);
    if (set_last(self, last) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void
chain_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((Chain *)object)->last);
    Py_XDECREF(((Chain *)object)->leaf);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef chain_methods[] = {
    {"seal", chain_seal, METH_O, "Number, link and hash one record; return its line, newline included."},
    {"rewind", chain_rewind, METH_O, "Return to a place where `last` was."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef chain_members[] = {
    {"last", T_OBJECT_EX, offsetof(Chain, last), READONLY, "Where the last record stands."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef chain_items[] = {
    {"stream", chain_get, NULL, "The stream's id.", (void *)0},
    {"seq", chain_get, NULL, "The last record's number.", (void *)1},
    {"last_hash", chain_get, NULL, "The last record's hash.", (void *)2},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot chain_slots[] = {
    {Py_tp_doc, "Seals records, one behind the other."},
    {Py_tp_new, chain_new},
    {Py_tp_dealloc, chain_dealloc},
    {Py_tp_methods, chain_methods},
    {Py_tp_members, chain_members},
    {Py_tp_getset, chain_items},
    {0, NULL},
};

PyType_Spec chain_spec = {
    .name = "otel_audit._native.Chain",
    .basicsize = sizeof(Chain),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = chain_slots,
};
