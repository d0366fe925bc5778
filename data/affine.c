#include "data/affine.h"

#include <math.h>
#include <string.h>

#include "data/exact.h"

static double cubic(double a, double b, double c, double d, double t) {
    double p2 = c - a, p3 = 2.0 * (a - b) + c - d, p4 = b - a - c + d;
    return b + t * (p2 + t * (p3 + t * p4));
}

static int limit(int v, int size) {
    return v < 0 ? 0 : v >= size ? size - 1 : v;
}

/* One pixel, about (x, y) inside the image. Rows below the image repeat the value above them; columns repeat
 * the border pixel. */
static void sample(uint8_t *to, const Image *in, double x, double y) {
    x -= 0.5, y -= 0.5;
    int left = (int)floor(x), top = (int)floor(y);
    double dx = x - left, dy = y - top;
    left--, top--;
    size_t row = (size_t)in->width * 3;
    const uint8_t *line[4];
    size_t column[4];
    for (int i = 0; i < 4; i++) {
        column[i] = (size_t)limit(left + i, in->width) * 3;
        line[i] = top + i >= 0 && top + i < in->height ? in->pixel + (size_t)(top + i) * row : NULL;
    }
    if (!line[0]) line[0] = in->pixel; /* above the image: its first row */
    for (size_t c = 0; c < 3; c++) {
        double v[4], above = 0.0;
        for (int i = 0; i < 4; i++) {
            const uint8_t *p = line[i];
            if (p) above = cubic(p[column[0] + c], p[column[1] + c], p[column[2] + c], p[column[3] + c], dx);
            v[i] = above;
        }
        double value = cubic(v[0], v[1], v[2], v[3], dy);
        to[c] = value <= 0.0 ? 0 : value >= 255.0 ? 255 : (uint8_t)value;
    }
}

bool affine_run(Image *out, const Image *in, const double m[6], const uint8_t fill[3], Error *e) {
    if (!image_reserve(out, in->width, in->height, e)) return false;
    uint8_t *to = out->pixel;
    for (int i = 0; i < in->height; i++)
        for (int j = 0; j < in->width; j++, to += 3) {
            double u = j + 0.5, v = i + 0.5;
            double x = m[0] * u + m[1] * v + m[2], y = m[3] * u + m[4] * v + m[5];
            if (x < 0.0 || x >= in->width || y < 0.0 || y >= in->height) {
                memcpy(to, fill, 3);
            } else {
                sample(to, in, x, y);
            }
        }
    return true;
}

/* Rounded to 15 decimals, as Pillow does so that quarter turns come out whole. */
static double round15(double v) {
    return rint(v * 1e15) / 1e15;
}

void affine_rotation(double m[6], double degrees, int width, int height) {
    double angle = -(degrees < 0.0 ? degrees + 360.0 : degrees) * (3.14159265358979323846 / 180.0);
    double c = round15(cos(angle)), s = round15(sin(angle)), cx = width / 2.0, cy = height / 2.0;
    m[0] = c, m[1] = s, m[2] = c * -cx + s * -cy + cx;
    m[3] = -s, m[4] = c, m[5] = -s * -cx + c * -cy + cy;
}
