/* The short road of a logging call in C: what it returns is what the Python beside it would have.
 *
 *   Words    whether one of many words stands in some bytes      (redaction/finding.py)
 *   Encoder  the canonical bytes of a record of plain values     (door.py, canonical.py)
 *
 * Both keep the interpreter's lock and run nobody's code, since they look at exact built-in types only: what they
 * borrow from a dict or a list stays as long as they need it. What they do not know they leave to Python, which alone
 * decides what becomes of it.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* ---- Words ---------------------------------------------------------------------------------------------------- */

/* A word owns one bit. The masks say which words' first, second and third byte each byte can be; where a bit is left
 * of three masks, the words that own it are compared. */

#define BITS 64
#define MASKS 3

typedef struct {
    const unsigned char *text;
    Py_ssize_t length;
    Py_ssize_t next; /* another word with the same bit; -1 if there is none */
} Word;

typedef struct {
    PyObject_HEAD
    PyObject *given; /* a tuple of the bytes that `words` points into */
    Word *words;
    Py_ssize_t first[BITS];
    uint64_t mask[MASKS][256];
    uint64_t shorter[MASKS - 1]; /* the words of one byte; of one or two */
} Words;

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

static int
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

static PyType_Spec words_spec = {
    .name = "otel_audit._native.Words",
    .basicsize = sizeof(Words),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = words_slots,
};

/* ---- Encoder -------------------------------------------------------------------------------------------------- */

#define MOST_MEMBERS 64
#define MOST_DEPTH 16
#define MOST_SAFE_INTEGER 9007199254740991LL
#define ROOM 4096

/* What writes returns one of these; `FAILED` with an exception set. */
enum { FAILED = -1, NOT_PLAIN = 0, WRITTEN = 1 };

/* Attributes of a logging record in the order in which it has them: what it says, and what has to be None. */
enum { LOGGER, LEVEL, EXCEPTION, EXCEPTION_TEXT, STACK, CREATED, NAMES };
static const char *const attributes[NAMES] = {"name", "levelname", "exc_info", "exc_text", "stack_info", "created"};

typedef struct {
    PyObject_HEAD
    PyObject *harmless; /* names that need no second look: a set that Python adds to */
    PyObject *naming;   /* names whose text has to be a harmless name itself */
    Words *words;       /* what must not stand in a text; NULL if nothing is looked for */
    PyObject *known;    /* a member that is written as `known_json`, and not looked at */
    PyObject *known_json;
    PyObject *name[NAMES]; /* interned, as the names of all attributes are */
    Py_ssize_t most;       /* bytes of a record */
} Encoder;

typedef struct {
    char *text; /* `own` until that is full */
    char *own;
    Py_ssize_t length, room, most;
} Output;

typedef struct {
    uint64_t beginning; /* the first eight bytes of the name as a number that sorts as they do */
    const char *name;
    Py_ssize_t length;
    PyObject *value;
} Member;

/* In the order in which they are written. */
typedef struct {
    Member member[MOST_MEMBERS];
    Py_ssize_t count;
} Members;

static int write_value(const Encoder *self, Output *out, PyObject *value, int depth);

#define WRITE(out, text) write_raw(out, text, sizeof text - 1)

static int
make_room(Output *out, Py_ssize_t more)
{
    Py_ssize_t needed = out->length + more;
    if (needed <= out->room)
        return WRITTEN;
    if (needed > out->most)
        return NOT_PLAIN;
    Py_ssize_t room = needed * 2;
    char *text = out->text == out->own ? PyMem_Malloc((size_t)room) : PyMem_Realloc(out->text, (size_t)room);
    if (text == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    if (out->text == out->own)
        memcpy(text, out->own, (size_t)out->length);
    out->text = text;
    out->room = room;
    return WRITTEN;
}

static int
write_raw(Output *out, const char *text, Py_ssize_t length)
{
    int done = make_room(out, length);
    if (done != WRITTEN)
        return done;
    memcpy(out->text + out->length, text, (size_t)length);
    out->length += length;
    return WRITTEN;
}

/* Between quotes; not if something in it has to be escaped. */
static int
write_quoted(Output *out, const char *text, Py_ssize_t length)
{
    int done = make_room(out, length + 2);
    if (done != WRITTEN)
        return done;
    char *at = out->text + out->length;
    unsigned char escaped = 0;
    *at++ = '"';
    for (Py_ssize_t place = 0; place < length; place++) {
        unsigned char byte = (unsigned char)text[place];
        escaped |= (byte < 0x20) | (byte == '"') | (byte == '\\');
        at[place] = (char)byte;
    }
    at[length] = '"';
    out->length += length + 2;
    return escaped ? NOT_PLAIN : WRITTEN;
}

static int
write_searched(const Encoder *self, Output *out, const char *text, Py_ssize_t length)
{
    if (self->words != NULL && holds_one(self->words, (const unsigned char *)text, length))
        return NOT_PLAIN;
    return write_quoted(out, text, length);
}

static int
write_text(const Encoder *self, Output *out, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return write_searched(self, out, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    PyObject *encoded = PyUnicode_AsUTF8String(text); /* unlike the buffer of a string, this does not stay with it */
    if (encoded == NULL) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return FAILED;
        PyErr_Clear(); /* a lone surrogate */
        return NOT_PLAIN;
    }
    int done = write_searched(self, out, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return done;
}

static int
write_integer(Output *out, long long number)
{
    char digits[24], *end = digits + sizeof digits, *at = end;
    if (number > MOST_SAFE_INTEGER || number < -MOST_SAFE_INTEGER)
        return NOT_PLAIN;
    for (long long rest = number < 0 ? -number : number; rest > 0 || at == end; rest /= 10)
        *--at = (char)('0' + rest % 10);
    if (number < 0)
        *--at = '-';
    return write_raw(out, at, end - at);
}

/* ECMAScript and Python spell a fraction alike as long as neither writes an exponent (RFC 8785, section 3.2.2.3). */
static int
write_float(Output *out, double number)
{
    double size = number < 0 ? -number : number;
    if (size <= MOST_SAFE_INTEGER && number == (double)(long long)number)
        return write_integer(out, (long long)number);
    if (!(size >= 1e-4 && size < MOST_SAFE_INTEGER))
        return NOT_PLAIN;
    char *digits = PyOS_double_to_string(number, 'r', 0, 0, NULL);
    if (digits == NULL)
        return FAILED;
    int done = write_raw(out, digits, (Py_ssize_t)strlen(digits));
    PyMem_Free(digits);
    return done;
}

static int
is_ascii(PyObject *name)
{
    return PyUnicode_CheckExact(name) && PyUnicode_IS_COMPACT_ASCII(name);
}

static int
comes_before(const Member *one, const Member *other)
{
    if (one->beginning != other->beginning)
        return one->beginning < other->beginning;
    Py_ssize_t shorter = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->name, other->name, (size_t)shorter);
    return order < 0 || (order == 0 && one->length < other->length);
}

/* Put a member where its name belongs. Not if that is no ASCII, which JCS may sort differently, or without room. */
static int
insert(Members *members, PyObject *name, PyObject *value)
{
    if (!is_ascii(name) || members->count == MOST_MEMBERS)
        return NOT_PLAIN;
    Member added = {0, (const char *)PyUnicode_1BYTE_DATA(name), PyUnicode_GET_LENGTH(name), value};
    unsigned char beginning[8] = {0};
    memcpy(beginning, added.name, added.length < 8 ? (size_t)added.length : 8);
    for (int byte = 0; byte < 8; byte++)
        added.beginning = added.beginning << 8 | beginning[byte];
    Member *place = &members->member[members->count++];
    for (; place > members->member && !comes_before(place - 1, &added); place--)
        *place = *(place - 1);
    *place = added;
    return WRITTEN;
}

static int
is_harmless(const Encoder *self, PyObject *name, PyObject *value)
{
    int known = PySet_Contains(self->harmless, name);
    if (known != 0)
        return known;
    int naming = PySet_Contains(self->naming, name);
    if (naming <= 0 || !PyUnicode_CheckExact(value))
        return naming < 0 ? FAILED : NOT_PLAIN;
    return PySet_Contains(self->harmless, value);
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
    done = write_quoted(out, member->name, member->length);
    out->text[out->length++] = ':';
    return done;
}

static int
write_members(const Encoder *self, Output *out, const Members *members, int depth)
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
collect(const Encoder *self, PyObject *name, PyObject *value, Members *members)
{
    int done = insert(members, name, value);
    return done == WRITTEN ? is_harmless(self, name, value) : done;
}

static int
collect_all(const Encoder *self, PyObject *object, Members *members)
{
    Py_ssize_t position = 0;
    PyObject *name, *value;
    int done = WRITTEN;
    while (done == WRITTEN && PyDict_Next(object, &position, &name, &value))
        done = collect(self, name, value, members);
    return done;
}

static int
write_object(const Encoder *self, Output *out, PyObject *object, int depth)
{
    Members members;
    members.count = 0;
    int done = depth > 0 ? collect_all(self, object, &members) : NOT_PLAIN;
    return done == WRITTEN ? write_members(self, out, &members, depth - 1) : done;
}

/* Two of which the first is text are perhaps a name and what stands under it. */
static int
is_suspicious_pair(const Encoder *self, PyObject *array, Py_ssize_t count)
{
    PyObject *first = count == 2 ? PySequence_Fast_GET_ITEM(array, 0) : NULL;
    if (first == NULL || !PyUnicode_CheckExact(first))
        return 0;
    int known = PySet_Contains(self->harmless, first);
    return known < 0 ? FAILED : !known;
}

static int
write_array(const Encoder *self, Output *out, PyObject *array, int depth)
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
write_value(const Encoder *self, Output *out, PyObject *value, int depth)
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

/* The date of a day counted from 1970-01-01, and not before it, in the Gregorian calendar, whose eras of 400 years are
 * alike; a year is counted from the first of March, so that a leap day is its last. */
static void
find_date(int64_t day, int *year, int *month, int *date)
{
    int64_t shifted = day + 719468, era = shifted / 146097;
    int in_era = (int)(shifted - era * 146097);
    int year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int from_march = (5 * in_year + 2) / 153;
    *date = in_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = (int)(year_of_era + era * 400) + (*month <= 2);
}

static char *
put_number(char *at, int number, int digits, char behind)
{
    for (int place = digits - 1; place >= 0; place--, number /= 10)
        at[place] = (char)('0' + number % 10);
    at[digits] = behind;
    return at + digits + 1;
}

/* UTC with nine digits of fraction (RFC 3339), from 1970 to where ns have no room in 64 bits, in the year 2262. */
static int
write_time(Output *out, int64_t nanoseconds)
{
    int64_t seconds = nanoseconds / 1000000000;
    int year, month, date, second = (int)(seconds % 86400);
    char text[32], *at = text;
    if (nanoseconds < 0)
        return NOT_PLAIN;
    find_date(seconds / 86400, &year, &month, &date);
    *at++ = '"';
    at = put_number(at, year, 4, '-');
    at = put_number(at, month, 2, '-');
    at = put_number(at, date, 2, 'T');
    at = put_number(at, second / 3600, 2, ':');
    at = put_number(at, second / 60 % 60, 2, ':');
    at = put_number(at, second % 60, 2, '.');
    at = put_number(at, (int)(nanoseconds % 1000000000), 9, 'Z');
    *at++ = '"';
    return write_raw(out, text, at - text);
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
write_optional(const Encoder *self, Output *out, const char *name, PyObject *value)
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
write_event(const Encoder *self, Output *out, const Event *event)
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
collect_extra(const Encoder *self, PyObject *name, PyObject *value, Members *extra, int *formatted)
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
read_call(const Encoder *self, PyObject *record, PyObject *standard, Event *call)
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
    const Encoder *self = (const Encoder *)object;
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
    const Encoder *self = (const Encoder *)object;
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
    PyTypeObject *const *words_type = PyType_GetModuleState(type);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!OO!Sn:Encoder", names, &harmless, &PyFrozenSet_Type, &naming,
                                     &words, &PyDict_Type, &known, &known_json, &most))
        return NULL;
    if (!PySet_Check(harmless) || (words != Py_None && Py_TYPE(words) != *words_type)) {
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

static PyType_Spec encoder_spec = {
    .name = "otel_audit._native.Encoder",
    .basicsize = sizeof(Encoder),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = encoder_slots,
};

/* ---- Module --------------------------------------------------------------------------------------------------- */

static int
add_types(PyObject *module)
{
    PyTypeObject **words = PyModule_GetState(module);
    PyObject *encoder;
    if ((*words = (PyTypeObject *)PyType_FromModuleAndSpec(module, &words_spec, NULL)) == NULL)
        return -1;
    if ((encoder = PyType_FromModuleAndSpec(module, &encoder_spec, NULL)) == NULL)
        return -1;
    int added = PyModule_AddType(module, *words) < 0 || PyModule_AddType(module, (PyTypeObject *)encoder) < 0;
    Py_DECREF(encoder);
    return added ? -1 : 0;
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(*(PyTypeObject **)PyModule_GetState(module));
    return 0;
}

static int
clear(PyObject *module)
{
    Py_CLEAR(*(PyTypeObject **)PyModule_GetState(module));
    return 0;
}

static void
release(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_types},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "otel_audit._native",
    .m_doc = "The short road of a logging call.",
    .m_size = sizeof(PyTypeObject *),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
