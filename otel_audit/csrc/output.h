/* JSON text on its way into memory: strings that need no escape, numbers, times. */

#ifndef OTEL_AUDIT_OUTPUT_H
#define OTEL_AUDIT_OUTPUT_H

#include "native.h"

typedef struct {
    char *text; /* `own` until that is full */
    char *own;
    Py_ssize_t length, room, most;
} Output;

#define WRITE(out, text) write_raw(out, text, sizeof text - 1)

static inline int
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

static inline int
write_raw(Output *out, const char *text, Py_ssize_t length)
{
    int done = make_room(out, length);
    if (done != WRITTEN)
        return done;
    memcpy(out->text + out->length, text, (size_t)length);
    out->length += length;
    return WRITTEN;
}

#define EACH(byte) (0x0101010101010101ULL * (byte))

/* Of eight bytes at once: set the highest bit of one that has to be escaped (below a space, a quote, a backslash). Where
 * there is one, those of its neighbours may be set as well. */
static inline uint64_t
find_escaped(uint64_t bytes)
{
    uint64_t quote = bytes ^ EACH('"'), backslash = bytes ^ EACH('\\');
    return ((bytes - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1))) & ~bytes & EACH(0x80);
}

static inline int
has_escaped(const char *text, Py_ssize_t length)
{
    uint64_t escaped = 0, bytes = EACH(' ');
    if (length >= 8) {
        for (Py_ssize_t place = 0; place < length - 8; place += 8) {
            memcpy(&bytes, text + place, 8);
            escaped |= find_escaped(bytes);
        }
        memcpy(&bytes, text + length - 8, 8);
    } else if (length >= 4) {
        memcpy(&bytes, text, 4);
        memcpy((char *)&bytes + 4, text + length - 4, 4);
    } else {
        for (Py_ssize_t place = 0; place < length; place++)
            bytes = bytes << 8 | (unsigned char)text[place];
    }
    return (escaped | find_escaped(bytes)) != 0;
}

/* Between quotes; not if something in it has to be escaped. */
static inline int
write_quoted(Output *out, const char *text, Py_ssize_t length)
{
    int done = make_room(out, length + 2);
    if (done != WRITTEN)
        return done;
    char *at = out->text + out->length;
    *at++ = '"';
    memcpy(at, text, (size_t)length);
    at[length] = '"';
    out->length += length + 2;
    return has_escaped(text, length) ? NOT_PLAIN : WRITTEN;
}

static inline int
write_integer(Output *out, long long number)
{
    char digits[MOST_DIGITS], *end = digits + sizeof digits;
    if (number > MOST_SAFE_INTEGER || number < -MOST_SAFE_INTEGER)
        return NOT_PLAIN;
    const char *at = spell(number, end);
    return write_raw(out, at, end - at);
}

/* ECMAScript and Python spell a fraction alike as long as neither writes an exponent (RFC 8785, section 3.2.2.3). */
static inline int
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

/* The date of a day counted from 1970-01-01, and not before it, in the Gregorian calendar, whose eras of 400 years are
 * alike; a year is counted from the first of March, so that a leap day is its last. */
static inline void
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

static inline char *
put_number(char *at, int number, int digits, char behind)
{
    for (int place = digits - 1; place >= 0; place--, number /= 10)
        at[place] = (char)('0' + number % 10);
    at[digits] = behind;
    return at + digits + 1;
}

/* UTC with nine digits of fraction (RFC 3339), from 1970 to where ns have no room in 64 bits, in the year 2262. */
static inline int
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

#endif
