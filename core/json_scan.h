/* json_scan: is this text JSON, and nothing but JSON? (RFC 8259; stricter where json.h says so.)
 * It builds nothing; it says what was expected and where, and finds the place of a value again. */
#ifndef LETHE_JSON_SCAN_H
#define LETHE_JSON_SCAN_H

#include "core/base.h"

/* Checks the whole text. The error is "name:line:column: what was expected". */
bool json_scan(const char *name, const char *text, size_t size, Error *e);

/* Where the index-th value (0: the root; in the order in which values begin) of a text that passed json_scan
 * stands: the offset of its key if it has one, else of the value. */
size_t json_scan_find(const char *text, size_t size, int64_t index);

/* Line and column of an offset, both from 1; columns count characters, not bytes. */
void json_scan_place(const char *text, size_t offset, int64_t *line, int64_t *column);

/* Length in bytes (1 to 4) of the well-formed UTF-8 character at p, of which `left` bytes may be read; 0 if
 * there is none (stray or overlong bytes, surrogates, above U+10FFFF). */
int json_utf8(const char *p, size_t left);

#endif
