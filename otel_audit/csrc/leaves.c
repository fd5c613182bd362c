/* PackedLeaves: leaf hashes in the order in which they came, 32 bytes each. Its twin is `integrity/packed.py`. */

#include "native.h"

#define DIGITS 64
#define LEAF (DIGITS / 2)
#define LEAST_ROOM 4096

typedef struct {
    PyObject_HEAD
    unsigned char *bytes;
    Py_ssize_t length, room;
} PackedLeaves;

/* Return what a lower-case hex digit stands for; 16 or more for anything else. */
static unsigned
value_of(unsigned char digit)
{
    unsigned number = digit - '0', letter = digit - 'a';
    return number < 10 ? number : letter < 6 ? letter + 10 : 16;
}

static int
make_room(PackedLeaves *self)
{
    if (self->length + LEAF <= self->room)
        return 0;
    Py_ssize_t room = self->room == 0 ? LEAST_ROOM : 2 * self->room;
    unsigned char *bytes = PyMem_Realloc(self->bytes, (size_t)room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->bytes = bytes;
    self->room = room;
    return 0;
}

static PyObject *
leaves_put(PyObject *object, PyObject *digest)
{
    PackedLeaves *self = (PackedLeaves *)object;
    if (!is_ascii(digest) || PyUnicode_GET_LENGTH(digest) != DIGITS) {
        PyErr_SetString(PyExc_ValueError, "a leaf hash is 64 lower-case hex digits");
        return NULL;
    }
    if (make_room(self) < 0)
        return NULL;
    const unsigned char *digits = (const unsigned char *)ascii_of(digest);
    unsigned char *leaf = self->bytes + self->length;
    unsigned wrong = 0;
    for (int place = 0; place < LEAF; place++) {
        unsigned high = value_of(digits[2 * place]), low = value_of(digits[2 * place + 1]);
        wrong |= high | low;
        leaf[place] = (unsigned char)(high << 4 | low);
    }
    if (wrong > 15) {
        PyErr_SetString(PyExc_ValueError, "a leaf hash is 64 lower-case hex digits");
        return NULL;
    }
    self->length += LEAF;
    Py_RETURN_NONE;
}

static PyObject *
leaves_take(PyObject *object, PyObject *wanted)
{
    PackedLeaves *self = (PackedLeaves *)object;
    Py_ssize_t count = PyLong_AsSsize_t(wanted);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    if (count < 0 || count > self->length / LEAF) {
        PyErr_SetString(PyExc_ValueError, "there are not so many leaves");
        return NULL;
    }
    PyObject *taken = PyBytes_FromStringAndSize((const char *)self->bytes, count * LEAF);
    if (taken != NULL && count > 0) {
        self->length -= count * LEAF;
        memmove(self->bytes, self->bytes + count * LEAF, (size_t)self->length);
    }
    return taken;
}

static Py_ssize_t
leaves_length(PyObject *object)
{
    return ((PackedLeaves *)object)->length / LEAF;
}

static void
leaves_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(((PackedLeaves *)object)->bytes);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef leaves_methods[] = {
    {"put", leaves_put, METH_O, "Add one leaf hash, given as 64 lower-case hex digits."},
    {"take", leaves_take, METH_O, "Return the first of these, so many, packed, and forget them."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot leaves_slots[] = {
    {Py_tp_doc, "Leaf hashes in the order in which they came."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, leaves_dealloc},
    {Py_tp_methods, leaves_methods},
    {Py_sq_length, leaves_length},
    {0, NULL},
};

PyType_Spec leaves_spec = {
    .name = "otel_audit._native.PackedLeaves",
    .basicsize = sizeof(PackedLeaves),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = leaves_slots,
};
