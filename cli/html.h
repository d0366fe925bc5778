/* html: a page written into memory. Whatever comes from outside goes through html_text, which leaves no way
 * out of the text or attribute it stands in. The first failure (memory) is kept and ends all later writing;
 * html_fine tells of it once, at the end. */
#ifndef LETHE_CLI_HTML_H
#define LETHE_CLI_HTML_H

#include "data/bytes.h"

typedef struct Html {
    Bytes text;
    int ids; /* given out by html_id */
    bool failed;
    Error error;
} Html;

bool html_fine(const Html *h, Error *e);
void html_free(Html *h);

/* Markup of our own. Arguments are numbers and words of ours, never text from outside. */
void html_put(Html *h, const char *format, ...) PRINTF_LIKE(2, 3);
void html_text(Html *h, const char *text); /* escaped, for elements and attributes */
void html_data(Html *h, const char *type, const void *data, size_t size); /* a data: URI in base64 */
int html_id(Html *h); /* a number no other element of the page has */

enum { HTML_NUMBER = 48 }; /* room for what the three below write; they return `out` */

/* "12,345", "0.4123", "1.5e-05"; four digits that count. "–" if not finite. */
const char *html_number(char out[HTML_NUMBER], double value);
const char *html_percent(char out[HTML_NUMBER], double value); /* of 0..100: "97.5 %" */
const char *html_seconds(char out[HTML_NUMBER], double value); /* "42 s", "3 min 20 s", "1 h 05 min" */

/* <img> with the file itself as a data: URI. A JPEG or PNG of at most `whole` bytes goes in as it is; a
 * larger one is shrunk to 224 pixels. `alt` is from outside. False, and nothing written, if it cannot be
 * read or is no picture. */
bool html_image(Html *h, const char *path, const char *alt, size_t whole, Error *e);

#endif
