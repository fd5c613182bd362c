/* Words: whether one of many words stands in some bytes. Its twin is `redaction/finding.py`.
 *
 * A word owns one bit. The masks say which words' first, second and third byte each byte can be; where a bit is left
 * of three masks, the words that own it are compared.
 */

#include "native.h"

#define BITS 64
#define MASKS 3

typedef struct {
    const unsigned char *text;
    Py_ssize_t length;
    Py_ssize_t next; /* another word with the same bit; -1 if there is none */
} Word;

struct Words {
    PyObject_HEAD
    PyObject *given; /* a tuple of the bytes that `words` points into */
    Word *words;
    Py_ssize_t first[BITS];
    uint64_t mask[MASKS][256];
    uint64_t shorter[MASKS - 1]; /* the words of one byte; of one or two */
};

static int
begins_with_one(const Words *self, uint64_t bits, const unsigned char *at, Py_ssize_t rest)
{
    for (int bit = 0; bits != 0; bit++, bits >>= 1) {
        if (!(bits & 1))
            continue;
        for (Py_ssize_t number = self->first[bit]; number >= 0; number = self->words[number].next) {
            const Word *word = &self->words[number];
            if (word->length <= rest && memcmp(at, word->text, (size_t)word->length) == 0)
                return 1;
        }
    }
    return 0;
}

int
holds_one(const Words *self, const unsigned char *text, Py_ssize_t length)
{
    uint64_t one = 0, two = 0; /* the words that may have begun with the last byte, and with the last two */
    for (Py_ssize_t place = 0; place < length; place++) {
        unsigned char byte = text[place];
        uint64_t three = two & self->mask[2][byte];
        two = one & self->mask[1][byte];
        one = self->mask[0][byte];
        if (three != 0 && begins_with_one(self, three, text + place - 2, length - place + 2))
            return 1;
    }
    one &= self->shorter[0];
    two &= self->shorter[1];
    return (two != 0 && begins_with_one(self, two, text + length - 2, 2)) ||
           (one != 0 && begins_with_one(self, one, text + length - 1, 1));
}

static int
add_word(Words *self, Py_ssize_t number, PyObject *given)
{
    if (!PyBytes_CheckExact(given) || PyBytes_GET_SIZE(given) == 0) {
        PyErr_SetString(PyExc_TypeError, "a word is bytes, at least one");
        return -1;
    }
    int bit = (int)(number % BITS);
    if (number / BITS % 2 == 1) /* there and back, so that the first words are the last to share theirs */
        bit = BITS - 1 - bit;
    Word *word = &self->words[number];
    word->text = (const unsigned char *)PyBytes_AS_STRING(given);
    word->length = PyBytes_GET_SIZE(given);
    word->next = self->first[bit];
    self->first[bit] = number;
    const uint64_t own = (uint64_t)1 << bit;
    for (int place = 0; place < MASKS; place++) {
        for (int byte = 0; byte < 256; byte++) {
            if (place >= word->length || word->text[place] == byte)
                self->mask[place][byte] |= own;
        }
    }
    for (int place = 0; place < MASKS - 1; place++) {
        if (word->length <= place + 1)
            self->shorter[place] |= own;
    }
    return 0;
}

static PyObject *
words_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"words", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Words", names, &given))
        return NULL;
    Words *self = (Words *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    memset(self->first, -1, sizeof self->first);
    if ((self->given = PySequence_Tuple(given)) == NULL)
        goto failed;
    Py_ssize_t count = PyTuple_GET_SIZE(self->given);
    if ((self->words = PyMem_New(Word, (size_t)count + 1)) == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t number = 0; number < count; number++) {
        if (add_word(self, number, PyTuple_GET_ITEM(self->given, number)) < 0)
            goto failed;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void
words_dealloc(PyObject *object)
{
    Words *self = (Words *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(self->words);
    Py_XDECREF(self->given);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
words_found_in(PyObject *self, PyObject *text)
{
    if (!PyBytes_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "words are looked for in bytes");
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(text);
    return PyBool_FromLong(holds_one((const Words *)self, bytes, PyBytes_GET_SIZE(text)));
}

static PyMethodDef words_methods[] = {
    {"found_in", words_found_in, METH_O, "Tell whether one of the words stands in these bytes."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot words_slots[] = {
    {Py_tp_doc, "Many words to be looked for in one pass."},
    {Py_tp_new, words_new},
    {Py_tp_dealloc, words_dealloc},
    {Py_tp_methods, words_methods},
    {0, NULL},
};

PyType_Spec words_spec = {
    .name = "otel_audit._native.Words",
    .basicsize = sizeof(Words),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = words_slots,
};
