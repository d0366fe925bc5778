#include "cli/serve_page.h"

#include "core/base.h"

#include <string.h>

/* The assembler takes a file in as it is, from where make runs: the root of the project. */
#define TAKE_IN(name, path)                                                                                  \
    __asm__(".pushsection .rodata\n"                                                                         \
            ".global page_" #name "\npage_" #name ": .incbin \"" path "\"\n"                                 \
            ".global page_" #name "_end\npage_" #name "_end: .byte 0\n"                                      \
            ".popsection\n");                                                                                \
    extern const unsigned char page_##name[], page_##name##_end[]

TAKE_IN(html, "cli/page/index.html");
TAKE_IN(script, "cli/page/page.js");
TAKE_IN(icon, "cli/page/icon.svg");
TAKE_IN(api, "cli/page/api.js");
TAKE_IN(draw, "cli/page/draw.js");
TAKE_IN(input, "cli/page/input.js");
TAKE_IN(save, "cli/page/save.js");
TAKE_IN(view, "cli/page/view.js");
TAKE_IN(style, "cli/page/page.css");

_Bool page_find(const char *url, PageFile *out) {
    static const char script[] = "text/javascript; charset=utf-8";
    const struct {
        const char *url, *type;
        const unsigned char *begin, *end;
    } list[] = {
        {"/", "text/html; charset=utf-8", page_html, page_html_end},
        {"/page.js", script, page_script, page_script_end},
        {"/api.js", script, page_api, page_api_end},
        {"/draw.js", script, page_draw, page_draw_end},
        {"/input.js", script, page_input, page_input_end},
        {"/save.js", script, page_save, page_save_end},
        {"/view.js", script, page_view, page_view_end},
        {"/icon.svg", "image/svg+xml", page_icon, page_icon_end},
        {"/page.css", "text/css; charset=utf-8", page_style, page_style_end},
    };
    for (int i = 0; i < COUNT(list); i++)
        if (!strcmp(url, list[i].url)) {
            *out =
                (PageFile){list[i].url, list[i].type, list[i].begin, (size_t)(list[i].end - list[i].begin)};
            return true;
        }
    return false;
}
