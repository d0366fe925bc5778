/* serve_page: the files of the page, as they were in cli/page when this was built. */
#ifndef LETHE_CLI_SERVE_PAGE_H
#define LETHE_CLI_SERVE_PAGE_H

#include <stddef.h>

typedef struct PageFile {
    const char *url, *type;
    const unsigned char *data;
    size_t size;
} PageFile;

/* The file at a URL's path ("/", "/page.js"); false: there is none. */
_Bool page_find(const char *url, PageFile *out);

#endif
