#include "data/solid.h"

bool sheet_new(Sheet *sheet, int rows, int cols, bool wrap, Error *e) {
    size_t size = (size_t)rows * (size_t)cols * sizeof(Vertex);
    *sheet = (Sheet){rows, cols, wrap, -1e9f, mem_get(size)};
    return sheet->v ? true : error_memory(e, size);
}

void sheet_free(Sheet *sheet) {
    mem_free(sheet->v);
    *sheet = (Sheet){0};
}

void sheet_normals(Sheet *sheet) {
    int rows = sheet->rows, cols = sheet->cols;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            int up = i > 0 ? i - 1 : 0, down = i + 1 < rows ? i + 1 : i;
            int left = sheet->wrap ? (j + cols - 1) % cols : j > 0 ? j - 1 : 0;
            int right = sheet->wrap ? (j + 1) % cols : j + 1 < cols ? j + 1 : j;
            Vec along = vec_minus(sheet->v[down * cols + j].at, sheet->v[up * cols + j].at);
            Vec across = vec_minus(sheet->v[i * cols + right].at, sheet->v[i * cols + left].at);
            sheet->v[i * cols + j].normal = vec_unit(vec_cross(along, across));
        }
    /* At a pole the row is one point: its normal is the mean of the next row's. */
    for (int end = 0; end < 2; end++) {
        int row = end ? rows - 1 : 0, next = end ? rows - 2 : 1;
        Vec span = vec_minus(sheet->v[row * cols].at, sheet->v[row * cols + cols / 2].at), mean = {0};
        if (vec_dot(span, span) > 1e-10f) continue;
        for (int j = 0; j < cols; j++) mean = vec_plus(mean, sheet->v[next * cols + j].normal);
        for (int j = 0; j < cols; j++) sheet->v[row * cols + j].normal = vec_unit(mean);
    }
}

static Vec turn_direction(const Turn *turn, Vec d) {
    return vec_plus(vec_plus(vec_scale(turn->x, d.x), vec_scale(turn->y, d.y)), vec_scale(turn->z, d.z));
}

void sheet_turn(Sheet *sheet, const Turn *turn) {
    Vec base = vec_plus(turn->pivot, turn->shift);
    for (int i = 0; i < sheet->rows * sheet->cols; i++) {
        Vertex *v = sheet->v + i;
        v->at = vec_plus(base, turn_direction(turn, vec_minus(v->at, turn->pivot)));
        v->normal = turn_direction(turn, v->normal);
        v->flow = turn_direction(turn, v->flow);
    }
}

Turn turn_of(float yaw, float pitch, float roll, Vec pivot, Vec shift) {
    float cy = cosf(yaw), sy = sinf(yaw), cp = cosf(pitch), sp = sinf(pitch), cr = cosf(roll),
          sr = sinf(roll);
    /* R = Rz(roll) Ry(yaw) Rx(-pitch); its columns are the new axes. Positive pitch looks up. */
    Vec x = {cr * cy, sr * cy, -sy};
    Vec y = {-sr * cp - cr * sy * sp, cr * cp - sr * sy * sp, -cy * sp};
    return (Turn){x, y, vec_cross(x, y), pivot, shift};
}

void view_clear(View *view) {
    for (int i = 0; i < view->w * view->h; i++) view->depth[i] = -1e9f;
}

Vec view_project(const View *view, Vec p) {
    float x = vec_dot(p, view->right), y = vec_dot(p, view->up), z = vec_dot(p, view->toward);
    float k = view->distance > 0.0f ? view->distance / maxf(view->distance - z, 0.1f) : 1.0f;
    return (Vec){view->cx + view->scale * k * x, view->cy - view->scale * k * y, z};
}

static inline float mix3(float a, float b, float c, const float w[3]) {
    return w[0] * a + w[1] * b + w[2] * c;
}

static inline Vec mix3_vec(Vec a, Vec b, Vec c, const float w[3]) {
    return (Vec){mix3(a.x, b.x, c.x, w), mix3(a.y, b.y, c.y, w), mix3(a.z, b.z, c.z, w)};
}

typedef struct Corner {
    const Vertex *v;
    Vec seen; /* pixel x, pixel y, depth */
} Corner;

static Vertex mix_vertex(const Corner c[3], const float w[3], bool whole) {
    const Vertex *a = c[0].v, *b = c[1].v, *d = c[2].v;
    Vertex f;
    f.at = mix3_vec(a->at, b->at, d->at, w);
    f.u = mix3(a->u, b->u, d->u, w), f.v = mix3(a->v, b->v, d->v, w);
    f.a = mix3(a->a, b->a, d->a, w), f.b = mix3(a->b, b->b, d->b, w);
    if (whole) {
        f.normal = mix3_vec(a->normal, b->normal, d->normal, w);
        f.flow = mix3_vec(a->flow, b->flow, d->flow, w);
    }
    return f;
}

/* Barycentric walk over the pixel centres in the triangle's box; most boxes hold none or a few. Attributes
 * are mixed without perspective: triangles are a few pixels wide. */
static void draw_triangle(View *view, const Corner c[3], Side side, Shade shade, const void *what) {
    Vec p = c[0].seen, q = c[1].seen, r = c[2].seen;
    float ax = q.x - p.x, ay = q.y - p.y, bx = r.x - p.x, by = r.y - p.y, area = ax * by - bx * ay;
    bool back = area > 0.0f; /* y is down on the screen */
    if ((side == SIDE_FRONT && back) || (side == SIDE_BACK && !back)) return;
    int x0 = (int)ceilf(maxf(minf(p.x, minf(q.x, r.x)) - 0.5f, 0.0f));
    int x1 = (int)floorf(minf(maxf(p.x, maxf(q.x, r.x)) - 0.5f, (float)view->w - 1.0f));
    int y0 = (int)ceilf(maxf(minf(p.y, minf(q.y, r.y)) - 0.5f, 0.0f));
    int y1 = (int)floorf(minf(maxf(p.y, maxf(q.y, r.y)) - 0.5f, (float)view->h - 1.0f));
    if (x0 > x1 || y0 > y1 || fabsf(area) < 1e-9f) return;
    float scale = 1.0f / area, step1 = by * scale, step2 = -ay * scale;
    float slope = step1 * (q.z - p.z) + step2 * (r.z - p.z);
    for (int y = y0; y <= y1; y++) {
        float py = (float)y + 0.5f - p.y, px = (float)x0 + 0.5f - p.x;
        float w1 = (px * by - py * bx) * scale, w2 = (py * ax - px * ay) * scale;
        float z = p.z + w1 * (q.z - p.z) + w2 * (r.z - p.z);
        float *depth = view->depth + (size_t)y * (size_t)view->w;
        for (int x = x0; x <= x1; x++, w1 += step1, w2 += step2, z += slope) {
            if (w1 < 0.0f || w2 < 0.0f || w1 + w2 > 1.0f || z <= depth[x]) continue;
            size_t at = (size_t)y * (size_t)view->w + (size_t)x;
            if (view->veil && view->veil[at] < 0.03f) continue;
            Vertex f = mix_vertex(c, (float[3]){1.0f - w1 - w2, w1, w2}, view->colour);
            Rgb colour;
            float alpha = shade(what, &f, back, &colour);
            if (alpha <= 0.0f) continue;
            if (view->veil) {
                view->colour[at] = rgb_plus(view->colour[at], rgb_scale(colour, alpha * view->veil[at]));
                view->veil[at] *= 1.0f - alpha;
                continue;
            }
            if (view->colour) view->colour[at] = rgb_mix(view->colour[at], colour, alpha);
            if (alpha > 0.5f) depth[x] = z;
        }
    }
}

void view_veil(View *view) {
    for (int i = 0; i < view->w * view->h; i++) {
        view->colour[i] = (Rgb){0};
        view->veil[i] = 1.0f;
    }
}

void view_unveil(View *view, Rgb *behind) {
    for (int i = 0; i < view->w * view->h; i++)
        behind[i] = rgb_plus(view->colour[i], rgb_scale(behind[i], view->veil[i]));
}

void view_draw(View *view, const Sheet *sheet, int stride, Side side, Shade shade, const void *what) {
    enum { MOST = 128 };
    Vec seen[2][MOST + 1]; /* two rows, projected */
    int cols = sheet->cols, n = sheet->wrap ? cols + 1 : cols;
    if (cols > MOST) die("view_draw: a sheet of %d columns; at most %d", cols, MOST);
    for (int i = 0, flip = 0; i < sheet->rows; i += stride, flip = !flip) {
        const Vertex *row = sheet->v + i * cols, *above = row - stride * cols;
        for (int j = 0; j < n; j += stride) seen[flip][j] = view_project(view, row[j % cols].at);
        for (int j = 0; i > 0 && j + stride < n; j += stride) {
            int k = (j + stride) % cols;
            const Vertex *q[4] = {above + j, above + k, row + j, row + k};
            if (maxf(maxf(q[0]->a, q[1]->a), maxf(q[2]->a, q[3]->a)) < sheet->floor) continue;
            Corner a = {above + j, seen[!flip][j]}, b = {row + j, seen[flip][j]};
            Corner c = {row + k, seen[flip][j + stride]}, d = {above + k, seen[!flip][j + stride]};
            draw_triangle(view, (Corner[3]){a, b, c}, side, shade, what);
            draw_triangle(view, (Corner[3]){a, c, d}, side, shade, what);
        }
    }
}
