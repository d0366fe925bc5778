/* markup: is a page well formed? For tests, after cmocka.h. */
#ifndef LETHE_TESTS_MARKUP_H
#define LETHE_TESTS_MARKUP_H

#include "core/base.h"

#include <string.h>

/* Every element that is opened is closed in order, attributes are quoted. Fills in how many <img> and <h1>.
 */
static void check_markup(const char *p, int *images, int *headings) {
    static const char *const empty[] = {"meta", "img", "path", "rect", "circle", "!DOCTYPE"};
    char stack[64][16];
    int depth = 0;
    *images = *headings = 0;
    while ((p = strchr(p, '<'))) {
        char name[16];
        bool end = p[1] == '/', is_empty = false;
        size_t n = strcspn(p + 1 + end, " />\n");
        assert_true(n > 0 && n < sizeof name);
        memcpy(name, p + 1 + end, n);
        name[n] = 0;
        p += 1 + end + n;
        for (bool quoted = false; *p && (quoted || *p != '>'); p++) quoted ^= *p == '"';
        assert_int_equal(*p, '>');
        for (int i = 0; i < COUNT(empty); i++) is_empty |= !strcmp(name, empty[i]);
        if ((is_empty && p[-1] == '/') || !strcmp(name, "meta") || !strcmp(name, "img") ||
            !strcmp(name, "!DOCTYPE")) {
            *images += !strcmp(name, "img");
            continue;
        }
        if (!end) {
            assert_true(depth < COUNT(stack));
            strcpy(stack[depth++], name);
            *headings += !strcmp(name, "h1");
        } else {
            assert_true(depth > 0);
            if (strcmp(stack[--depth], name) != 0) fail_msg("</%s> where <%s> is open", name, stack[depth]);
        }
    }
    assert_int_equal(depth, 0);
}

#endif
