/* Encoder: the canonical bytes of a record of plain values. Its twins are `door.py`, `canonical.py` and `logrecord.py`.
 *
 * It keeps the interpreter's lock and runs nobody's code, since it looks at exact built-in types only: what it borrows
 * from a dict or a list stays as long as it needs it. What it does not know it leaves to Python, which alone decides
 * what becomes of it.
 */

#include "members.h"
#include "output.h"

#define MOST_DEPTH 16
#define ROOM 4096
#define REMEMBERED 256

/* Attributes of a logging record in the order in which it has them: what it says, and what has to be None. */
enum { LOGGER, LEVEL, EXCEPTION, EXCEPTION_TEXT, STACK, CREATED, NAMES };
static const char *const attributes[NAMES] = {"name", "levelname", "exc_info", "exc_text", "stack_info", "created"};

/* A name that needs no second look, and in which nothing has to be escaped. */
typedef struct {
    PyObject *name;     /* NULL if there is none */
    uint64_t beginning; /* its first eight bytes as a number that sorts as they do */
} Remembered;

typedef struct {
    PyObject_HEAD
    PyObject *harmless; /* names that need no second look: a set that Python adds to */
    PyObject *naming;   /* names whose text has to be a harmless name itself */
    Words *words;       /* what must not stand in a text; NULL if nothing is looked for */
    PyObject *known;    /* a member that is written as `known_json`, and not looked at */
    PyObject *known_json;
    PyObject *name[NAMES]; /* interned, as the names of all attributes are */
    Py_ssize_t most;       /* bytes of a record */
    Remembered remembered[REMEMBERED]; /* found by where they lie: most names are constants of the program */
} Encoder;

static int write_value(Encoder *self, Output *out, PyObject *value, int depth);

static int
write_searched(Encoder *self, Output *out, const char *text, Py_ssize_t length)
{
    if (self->words != NULL && holds_one(self->words, (const unsigned char *)text, length))
        return NOT_PLAIN;
    return write_quoted(out, text, length);
}

static int
write_text(Encoder *self, Output *out, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return write_searched(self, out, ascii_of(text), PyUnicode_GET_LENGTH(text));
    PyObject *encoded = PyUnicode_AsUTF8String(text); /* unlike the buffer of a string, this does not stay with it */
    if (encoded == NULL) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return FAILED;
        PyErr_Clear(); /* a lone surrogate; until 3.11 finalizers may have run: what is borrowed may be gone */
        return NOT_PLAIN;
    }
    int done = write_searched(self, out, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return done;
}

/* Tell whether a name needs no second look; remember it if it never will. */
static int
look_at(Encoder *self, PyObject *name, PyObject *value, Remembered *place)
{
    if (!is_ascii(name) || has_escaped(ascii_of(name), PyUnicode_GET_LENGTH(name)))
        return NOT_PLAIN; /* JCS may sort the one elsewhere, and the other is not written as it is */
    int known = PySet_Contains(self->harmless, name);
    if (known > 0) {
        Py_XSETREF(place->name, Py_NewRef(name));
        place->beginning = read_beginning(name);
    }
    if (known != 0)
        return known;
    int naming = PySet_Contains(self->naming, name);
    if (naming <= 0 || !PyUnicode_CheckExact(value))
        return naming < 0 ? FAILED : NOT_PLAIN;
    return PySet_Contains(self->harmless, value);
}

static int
collect(Encoder *self, PyObject *name, PyObject *value, Members *members)
{
    Remembered *place = &self->remembered[((uintptr_t)name >> 5) % REMEMBERED];
    if (place->name == name)
        return insert(members, place->beginning, name, value);
    int done = look_at(self, name, value, place);
    return done == WRITTEN ? insert(members, read_beginning(name), name, value) : done;
}

/* What stands before a member's value. */
static int
write_name(Output *out, const Member *member, Py_ssize_t number)
{
    int done = make_room(out, member->length + 4);
    if (done != WRITTEN)
        return done;
    if (number > 0)
        out->text[out->length++] = ',';
    char *at = out->text + out->length;
    *at++ = '"';
    at = put(at, member->name, member->length);
    *at++ = '"';
    *at++ = ':';
    out->length = at - out->text;
    return WRITTEN;
}

static int
write_members(Encoder *self, Output *out, const Members *members, int depth)
{
    int done = WRITE(out, "{");
    for (Py_ssize_t number = 0; number < members->count && done == WRITTEN; number++) {
        done = write_name(out, &members->member[number], number);
        if (done == WRITTEN)
            done = write_value(self, out, members->member[number].value, depth);
    }
    return done == WRITTEN ? WRITE(out, "}") : done;
}

static int
collect_all(Encoder *self, PyObject *object, Members *members)
{
    Py_ssize_t position = 0;
    PyObject *name, *value;
    int done = WRITTEN;
    while (done == WRITTEN && PyDict_Next(object, &position, &name, &value))
        done = collect(self, name, value, members);
    return done;
}

static int
write_object(Encoder *self, Output *out, PyObject *object, int depth)
{
    Members members;
    members.count = 0;
    int done = depth > 0 ? collect_all(self, object, &members) : NOT_PLAIN;
    return done == WRITTEN ? write_members(self, out, &members, depth - 1) : done;
}

/* Two of which the first is text are perhaps a name and what stands under it. */
static int
is_suspicious_pair(Encoder *self, PyObject *array, Py_ssize_t count)
{
    PyObject *first = count == 2 ? PySequence_Fast_GET_ITEM(array, 0) : NULL;
    if (first == NULL || !PyUnicode_CheckExact(first))
        return 0;
    int known = PySet_Contains(self->harmless, first);
    return known < 0 ? FAILED : !known;
}

static int
write_array(Encoder *self, Output *out, PyObject *array, int depth)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(array);
    if (depth == 0)
        return NOT_PLAIN;
    int suspicious = is_suspicious_pair(self, array, count);
    if (suspicious != 0)
        return suspicious < 0 ? FAILED : NOT_PLAIN;
    int done = WRITE(out, "[");
    for (Py_ssize_t number = 0; number < count && done == WRITTEN; number++) {
        if (number > 0)
            done = WRITE(out, ",");
        if (done == WRITTEN)
            done = write_value(self, out, PySequence_Fast_GET_ITEM(array, number), depth - 1);
    }
    return done == WRITTEN ? WRITE(out, "]") : done;
}

static int
write_value(Encoder *self, Output *out, PyObject *value, int depth)
{
    if (PyUnicode_CheckExact(value))
        return write_text(self, out, value);
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? NOT_PLAIN : write_integer(out, number);
    }
    if (value == Py_None)
        return WRITE(out, "null");
    if (value == Py_True)
        return WRITE(out, "true");
    if (value == Py_False)
        return WRITE(out, "false");
    if (value == self->known)
        return write_raw(out, PyBytes_AS_STRING(self->known_json), PyBytes_GET_SIZE(self->known_json));
    if (PyDict_CheckExact(value))
        return write_object(self, out, value, depth);
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value))
        return write_array(self, out, value, depth);
    if (PyFloat_CheckExact(value))
        return write_float(out, PyFloat_AS_DOUBLE(value));
    return NOT_PLAIN;
}

typedef struct {
    int64_t time; /* ns since 1970 */
    PyObject *audit;
    PyObject *event_name;                       /* the default if NULL */
    PyObject *level, *logger, *message, *trace; /* None if there is none */
    Members *data;
} Event;

/* `name` has the comma, quotes and colon around it. */
static int
write_optional(Encoder *self, Output *out, const char *name, PyObject *value)
{
    if (value == Py_None)
        return WRITTEN;
    int done = write_raw(out, name, (Py_ssize_t)strlen(name));
    return done == WRITTEN ? write_value(self, out, value, MOST_DEPTH) : done;
}

static int
is_text(PyObject *value)
{
    return value == Py_None || PyUnicode_CheckExact(value);
}

/* Write a record but for its last brace. */
static int
write_event(Encoder *self, Output *out, const Event *event)
{
    if (!is_text(event->level) || !is_text(event->logger) || !is_text(event->message))
        return NOT_PLAIN;
    int done = WRITE(out, "{\"@timestamp\":");
    if (done == WRITTEN)
        done = write_time(out, event->time);
    if (done == WRITTEN)
        done = write_optional(self, out, ",\"audit\":", event->audit);
    if (done == WRITTEN && event->data->count > 0)
        done = WRITE(out, ",\"data\":");
    if (done == WRITTEN && event->data->count > 0)
        done = write_members(self, out, event->data, MOST_DEPTH);
    if (done == WRITTEN)
        done = WRITE(out, ",\"event_name\":");
    if (done == WRITTEN)
        done = event->event_name == NULL ? WRITE(out, "\"log.record\"") : write_text(self, out, event->event_name);
    if (done == WRITTEN)
        done = write_optional(self, out, ",\"level\":", event->level);
    if (done == WRITTEN)
        done = write_optional(self, out, ",\"logger\":", event->logger);
    if (done == WRITTEN)
        done = write_optional(self, out, ",\"message\":", event->message);
    return done == WRITTEN ? write_optional(self, out, ",\"otel\":", event->trace) : done;
}

static int
is_called(PyObject *name, const char *text)
{
    size_t length = strlen(text);
    return is_ascii(name) && (size_t)PyUnicode_GET_LENGTH(name) == length &&
           memcmp(PyUnicode_1BYTE_DATA(name), text, length) == 0;
}

/* Collect what the caller gave as `extra=`, but not what formatters leave beside it. */
static int
collect_extra(Encoder *self, PyObject *name, PyObject *value, Members *extra, int *formatted)
{
    if (is_called(name, "audit"))
        return NOT_PLAIN;
    if (is_called(name, "message")) {
        *formatted = 1;
        return WRITTEN;
    }
    if (is_called(name, "asctime"))
        return *formatted ? WRITTEN : NOT_PLAIN;
    return collect(self, name, value, extra);
}

/* Read when a logging record was made. What this float has beyond microseconds is noise; what it has beyond the year
 * 2255 has no room in ns. */
static int
read_time(PyObject *created, int64_t *nanoseconds)
{
    double microseconds = PyFloat_CheckExact(created) ? PyFloat_AS_DOUBLE(created) * 1e6 : -1;
    if (!(microseconds >= 0 && microseconds < 9e15))
        return NOT_PLAIN;
    *nanoseconds = (int64_t)microseconds * 1000;
    return WRITTEN;
}

/* Read a logging record: its standard attributes, and all behind them, which is extra. Not if it tells of an exception,
 * or if somebody's own factory put something before or between the standard ones. */
static int
read_call(Encoder *self, PyObject *record, PyObject *standard, Event *call)
{
    Py_ssize_t count = PyTuple_GET_SIZE(standard), position = 0, number = 0;
    PyObject *said[NAMES], *name, *value;
    int found = 0, formatted = 0;
    for (; PyDict_Next(record, &position, &name, &value); number++) {
        if (number < count) {
            if (name != PyTuple_GET_ITEM(standard, number))
                return NOT_PLAIN;
            if (found < NAMES && name == self->name[found])
                said[found++] = value;
            /* Since Python 3.12 the last one is the task, of which a record tells as of an extra. */
            if (number + 1 < count || value == Py_None || !is_called(name, "taskName"))
                continue;
        }
        int done = collect_extra(self, name, value, call->data, &formatted);
        if (done != WRITTEN)
            return done;
    }
    if (number < count || found < NAMES || !PyUnicode_CheckExact(said[LEVEL]) || !PyUnicode_CheckExact(said[LOGGER]))
        return NOT_PLAIN;
    if (said[EXCEPTION] != Py_None || said[EXCEPTION_TEXT] != Py_None || said[STACK] != Py_None)
        return NOT_PLAIN;
    call->level = said[LEVEL];
    call->logger = said[LOGGER];
    call->audit = self->known;
    return read_time(said[CREATED], &call->time);
}

/* Return what was written, but for a record's last brace, which `out` does not hold; None if Python has to look. */
static PyObject *
finish(Output *out, int done)
{
    PyObject *head = NULL;
    if (done == WRITTEN && out->length < out->most)
        head = PyBytes_FromStringAndSize(out->text, out->length);
    else if (done != FAILED)
        head = Py_NewRef(Py_None);
    if (out->text != out->own)
        PyMem_Free(out->text);
    return head;
}

static PyObject *
encoder_encode_call(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4 || !PyDict_CheckExact(args[0]) || !PyTuple_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "encode_call() takes a dict, a tuple, a message and a trace");
        return NULL;
    }
    Encoder *self = (Encoder *)object;
    char own[ROOM]; /* not in `out`, of which all would be set to zero */
    Members data;
    data.count = 0;
    Output out = {.text = own, .own = own, .room = ROOM, .most = self->most};
    Event call = {.data = &data, .message = args[2], .trace = args[3]};
    int done = read_call(self, args[0], args[1], &call);
    return finish(&out, done == WRITTEN ? write_event(self, &out, &call) : done);
}

static PyObject *
encoder_encode(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8) {
        PyErr_SetString(PyExc_TypeError, "encode() takes 8 arguments");
        return NULL;
    }
    Encoder *self = (Encoder *)object;
    int overflow = 0, done = NOT_PLAIN;
    char own[ROOM];
    Members data;
    data.count = 0;
    Output out = {.text = own, .own = own, .room = ROOM, .most = self->most};
    Event event = {.event_name = args[1],
                   .audit = args[2],
                   .data = &data,
                   .level = args[4],
                   .logger = args[5],
                   .message = args[6],
                   .trace = args[7]};
    if (PyLong_CheckExact(args[0]) && PyUnicode_CheckExact(args[1]) && PyDict_CheckExact(args[2])) {
        event.time = PyLong_AsLongLongAndOverflow(args[0], &overflow);
        if (!overflow && args[3] == Py_None)
            done = WRITTEN;
        else if (!overflow && PyDict_CheckExact(args[3]))
            done = collect_all(self, args[3], &data);
    }
    return finish(&out, done == WRITTEN ? write_event(self, &out, &event) : done);
}

static PyObject *
encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"harmless", "naming", "words", "known", "known_json", "most", NULL};
    PyObject *harmless, *naming, *words, *known, *known_json;
    Py_ssize_t most;
    const State *state = PyType_GetModuleState(type);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!OO!Sn:Encoder", names, &harmless, &PyFrozenSet_Type, &naming,
                                     &words, &PyDict_Type, &known, &known_json, &most))
        return NULL;
    if (!PySet_Check(harmless) || (words != Py_None && Py_TYPE(words) != state->words)) {
        PyErr_SetString(PyExc_TypeError, "harmless is a set, words are Words or None");
        return NULL;
    }
    Encoder *self = (Encoder *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->harmless = Py_NewRef(harmless);
    self->naming = Py_NewRef(naming);
    self->words = words == Py_None ? NULL : (Words *)Py_NewRef(words);
    self->known = Py_NewRef(known);
    self->known_json = Py_NewRef(known_json);
    self->most = most;
    for (int number = 0; number < NAMES; number++) {
        if ((self->name[number] = PyUnicode_InternFromString(attributes[number])) == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static void
encoder_dealloc(PyObject *object)
{
    Encoder *self = (Encoder *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->harmless);
    Py_XDECREF(self->naming);
    Py_XDECREF((PyObject *)self->words);
    Py_XDECREF(self->known);
    Py_XDECREF(self->known_json);
    for (int number = 0; number < NAMES; number++)
        Py_XDECREF(self->name[number]);
    for (int number = 0; number < REMEMBERED; number++)
        Py_XDECREF(self->remembered[number].name);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef encoder_methods[] = {
    {"encode", (PyCFunction)(void (*)(void))encoder_encode, METH_FASTCALL,
     "Return the head of an event's record; None if Python has to look."},
    {"encode_call", (PyCFunction)(void (*)(void))encoder_encode_call, METH_FASTCALL,
     "Return the head of a logging call's record, from its attributes; None if Python has to look."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot encoder_slots[] = {
    {Py_tp_doc, "Writes the canonical bytes of records that hold only plain values."},
    {Py_tp_new, encoder_new},
    {Py_tp_dealloc, encoder_dealloc},
    {Py_tp_methods, encoder_methods},
    {0, NULL},
};

PyType_Spec encoder_spec = {
    .name = "otel_audit._native.Encoder",
    .basicsize = sizeof(Encoder),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = encoder_slots,
};
