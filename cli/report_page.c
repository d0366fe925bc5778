/* How every page begins. */
#include "cli/report.h"

void report_begin(Html *h, const char *title, const char *meta, const char *style) {
    /* The policy: nothing is loaded from anywhere, whatever stands in the texts. */
    html_put(h,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
             "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n%s<title>",
             meta);
    html_text(h, title);
    html_put(h, "</title>\n<style>\n%s%s</style>\n</head>\n<body>\n<main>\n", report_style, style);
}

void report_head(Html *h, const char *title) {
    report_begin(h, title, "", "");
    html_put(h, "<header><h1>");
    html_text(h, title);
    html_put(h, "</h1>\n");
}
