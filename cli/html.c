#include "cli/html.h"

#include "core/json_scan.h"
#include "data/image.h"
#include "data/jpeg.h"
#include "data/resize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { THUMB_SIDE = 224, THUMB_QUALITY = 88, IMAGE_CAP = 64 << 20 };

bool html_fine(const Html *h, Error *e) {
    if (h->failed) *e = h->error;
    return !h->failed;
}

void html_free(Html *h) {
    bytes_free(&h->text);
}

static void append(Html *h, const void *data, size_t size) {
    if (!h->failed) h->failed = !bytes_append(&h->text, data, size, &h->error);
}

void html_put(Html *h, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) die("html_put: bad format \"%s\"", format);
    if (h->failed || (h->failed = !bytes_reserve(&h->text, h->text.size + (size_t)n + 1, &h->error))) return;
    va_start(args, format);
    vsnprintf((char *)h->text.data + h->text.size, (size_t)n + 1, format, args);
    va_end(args);
    h->text.size += (size_t)n;
}

void html_text(Html *h, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        int n = json_utf8(text, left);
        uint8_t c = (uint8_t)*text;
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            html_put(h, "&#%d;", c);
        else if (n == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
            append(h, "\xEF\xBF\xBD", 3);
        else
            append(h, text, (size_t)n);
        text += n ? n : 1;
        left -= n ? (size_t)n : 1;
    }
}

void html_data(Html *h, const char *type, const void *data, size_t size) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = data;
    html_put(h, "data:%s;base64,", type);
    if (h->failed || (h->failed = !bytes_reserve(&h->text, h->text.size + size / 3 * 4 + 4, &h->error)))
        return;
    uint8_t *out = h->text.data + h->text.size;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16;
        if (i + 1 < size) v |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < size) v |= in[i + 2];
        *out++ = (uint8_t)digit[v >> 18];
        *out++ = (uint8_t)digit[v >> 12 & 63];
        *out++ = i + 1 < size ? (uint8_t)digit[v >> 6 & 63] : '=';
        *out++ = i + 2 < size ? (uint8_t)digit[v & 63] : '=';
    }
    h->text.size = (size_t)(out - h->text.data);
}

int html_id(Html *h) {
    return ++h->ids;
}

/* ---- numbers ---- */

const char *html_number(char out[HTML_NUMBER], double value) {
    if (!isfinite(value)) return strcpy(out, "–");
    if (fabs(value) < 1000 || fabs(value) >= 1e15) {
        snprintf(out, HTML_NUMBER, "%.4g", value);
        return out;
    }
    char plain[HTML_NUMBER];
    int n = snprintf(plain, sizeof plain, "%.0f", value), used = 0;
    for (int i = 0; i < n; i++) {
        out[used++] = plain[i];
        int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && plain[i] != '-') out[used++] = ',';
    }
    out[used] = 0;
    return out;
}

const char *html_percent(char out[HTML_NUMBER], double value) {
    if (!isfinite(value)) return strcpy(out, "–");
    snprintf(out, HTML_NUMBER, value == round(value) ? "%.0f %%" : "%.1f %%", value);
    return out;
}

const char *html_seconds(char out[HTML_NUMBER], double value) {
    if (!(value >= 0 && value < 1e12)) return strcpy(out, "–");
    long long s = llround(value);
    if (s < 60)
        snprintf(out, HTML_NUMBER, "%lld s", s);
    else if (s < 3600)
        snprintf(out, HTML_NUMBER, "%lld min %02lld s", s / 60, s % 60);
    else
        snprintf(out, HTML_NUMBER, "%lld h %02lld min", s / 3600, s / 60 % 60);
    return out;
}

/* ---- pictures ---- */

/* Replaces the file in *file by a small JPEG of the same picture. */
static bool shrink(Bytes *file, ImageInfo *info, const char *path, Error *e) {
    Image whole = {0}, small = {0};
    Resizer r = {0};
    bool ok = false;
    if (!image_decode(&whole, file->data, file->size, path, &image_standard, e)) goto out;
    int side = whole.width > whole.height ? whole.width : whole.height;
    double scale = side > THUMB_SIDE ? (double)THUMB_SIDE / side : 1;
    int width = (int)fmax(1, round(whole.width * scale)), height = (int)fmax(1, round(whole.height * scale));
    ResizeView view = resize_view(&whole);
    ResizeTo to = resize_whole(view, width, height, RESIZE_BICUBIC);
    if (!resize_run(&r, &small, view, &to, e)) goto out;
    file->size = 0;
    if (!image_jpeg_encode(file, &small, THUMB_QUALITY, e)) goto out;
    *info = (ImageInfo){IMAGE_JPEG, width, height, 1};
    ok = true;
out:
    resize_free(&r);
    image_free(&small);
    image_free(&whole);
    return ok;
}

bool html_image(Html *h, const char *path, const char *alt, size_t whole, Error *e) {
    Bytes file = {0};
    ImageInfo info;
    bool ok = bytes_read(&file, path, IMAGE_CAP, e) &&
              image_probe(&info, file.data, file.size, path, &image_standard, e) &&
              (file.size <= whole || shrink(&file, &info, path, e));
    if (ok) {
        html_put(h, "<img width=\"%d\" height=\"%d\" alt=\"", image_info_width(&info),
                 image_info_height(&info));
        html_text(h, alt);
        html_put(h, "\" src=\"");
        html_data(h, info.kind == IMAGE_PNG ? "image/png" : "image/jpeg", file.data, file.size);
        html_put(h, "\">");
    }
    bytes_free(&file);
    return ok;
}
