#include "cli/overlay.h"

#include <math.h>

enum { TINT = 45 /* percent */ };

static const OverlayColour green = {{40, 210, 70}}, red = {{235, 45, 45}}, white = {{255, 255, 255}};

OverlayColour overlay_colour(int64_t i) {
    /* Hues by the golden angle: any stretch of the list is spread over the circle. */
    const double hue = fmod(0.58 + (double)i * 0.6180339887498949, 1.0) * 6, third[3] = {0, 4, 2};
    OverlayColour c;
    for (int k = 0; k < 3; k++) {
        const double share = fabs(fmod(hue + third[k], 6) - 3) - 1;
        c.channel[k] = (uint8_t)(40 + 215 * fmin(fmax(share, 0), 1));
    }
    return c;
}

static void pixel_put(Image *im, int x, int y, OverlayColour c) {
    if (x < 0 || y < 0 || x >= im->width || y >= im->height) return;
    uint8_t *to = im->pixel + ((size_t)y * (size_t)im->width + (size_t)x) * 3;
    for (int k = 0; k < 3; k++) to[k] = c.channel[k];
}

/* Lines are thicker on larger pictures. */
static int line_width(const Image *im) {
    const int shorter = im->width < im->height ? im->width : im->height;
    return shorter < 400 ? 1 : shorter / 400 + 1;
}

/* Is there a pixel outside the mask, in the picture, within `reach` along an axis or a diagonal? */
static bool on_border(const Image *im, const uint8_t *mask, int x, int y, int reach) {
    for (int dy = -reach; dy <= reach; dy += reach)
        for (int dx = -reach; dx <= reach; dx += reach) {
            const int u = x + dx, v = y + dy;
            if (u < 0 || v < 0 || u >= im->width || v >= im->height) continue;
            if (!mask[(size_t)v * (size_t)im->width + (size_t)u]) return true;
        }
    return false;
}

void overlay_mask(Image *im, const uint8_t *mask, OverlayColour c) {
    const int reach = line_width(im);
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++) {
            const size_t at = (size_t)y * (size_t)im->width + (size_t)x;
            if (!mask[at]) continue;
            if (on_border(im, mask, x, y, reach)) {
                pixel_put(im, x, y, c);
                continue;
            }
            for (int k = 0; k < 3; k++) {
                uint8_t *to = &im->pixel[at * 3 + (size_t)k];
                *to = (uint8_t)((*to * (100 - TINT) + c.channel[k] * TINT) / 100);
            }
        }
}

void overlay_point(Image *im, double x, double y, bool inside) {
    const int shorter = im->width < im->height ? im->width : im->height;
    const double radius = shorter < 240 ? 3 : shorter / 80.0, ring = radius + line_width(im);
    for (int v = (int)(y - ring); v <= (int)(y + ring); v++)
        for (int u = (int)(x - ring); u <= (int)(x + ring); u++) {
            const double d = hypot(u - x, v - y);
            if (d <= ring) pixel_put(im, u, v, d > radius ? white : inside ? green : red);
        }
}

void overlay_box(Image *im, const double box[4]) {
    const int w = line_width(im);
    const int x0 = (int)lrint(box[0]), y0 = (int)lrint(box[1]), x1 = (int)lrint(box[2]),
              y1 = (int)lrint(box[3]);
    for (int k = 0; k < w; k++) {
        for (int x = x0; x <= x1; x++) {
            pixel_put(im, x, y0 + k, green);
            pixel_put(im, x, y1 - k, green);
        }
        for (int y = y0; y <= y1; y++) {
            pixel_put(im, x0 + k, y, green);
            pixel_put(im, x1 - k, y, green);
        }
    }
}
