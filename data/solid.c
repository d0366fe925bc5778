#include "data/solid.h"

bool sheet_new(Sheet *sheet, int rows, int cols, bool wrap, Error *e) {
    size_t size = (size_t)rows * (size_t)cols * sizeof(Vertex);
    *sheet = (Sheet){rows, cols, wrap, mem_get(size)};
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
    float k = view->distance > 0.0f ? view->distance / fmaxf(view->distance - z, 0.1f) : 1.0f;
    return (Vec){view->cx + view->scale * k * x, view->cy - view->scale * k * y, z};
}

static inline float mix3(float a, float b, float c, const float w[3]) {
    return w[0] * a + w[1] * b + w[2] * c;
}

static inline Vec mix3_vec(Vec a, Vec b, Vec c, const float w[3]) {
    return (Vec){mix3(a.x, b.x, c.x, w), mix3(a.y, b.y, c.y, w), mix3(a.z, b.z, c.z, w)};
}

/* Barycentric walk over the triangle's box. Attributes are mixed without perspective: triangles are a few
 * pixels wide. */
static void draw_triangle(View *view, const Vertex *v[3], const Vec s[3], Side side, Shade shade,
                          const void *what) {
    float area = (s[1].x - s[0].x) * (s[2].y - s[0].y) - (s[2].x - s[0].x) * (s[1].y - s[0].y);
    bool back = area > 0.0f; /* y is down on the screen */
    if (fabsf(area) < 1e-9f || (side == SIDE_FRONT && back) || (side == SIDE_BACK && !back)) return;
    float lo_x = fminf(s[0].x, fminf(s[1].x, s[2].x)), hi_x = fmaxf(s[0].x, fmaxf(s[1].x, s[2].x));
    float lo_y = fminf(s[0].y, fminf(s[1].y, s[2].y)), hi_y = fmaxf(s[0].y, fmaxf(s[1].y, s[2].y));
    if (!(hi_x > 0.0f && hi_y > 0.0f && lo_x < (float)view->w && lo_y < (float)view->h)) return;
    int x0 = (int)fmaxf(ceilf(lo_x - 0.5f), 0.0f),
        x1 = (int)fminf(floorf(hi_x - 0.5f), (float)view->w - 1.0f);
    int y0 = (int)fmaxf(ceilf(lo_y - 0.5f), 0.0f),
        y1 = (int)fminf(floorf(hi_y - 0.5f), (float)view->h - 1.0f);
    float scale = 1.0f / area;
    float step1 = (s[2].y - s[0].y) * scale, step2 = -(s[1].y - s[0].y) * scale;
    for (int y = y0; y <= y1; y++) {
        float py = (float)y + 0.5f - s[0].y, px = (float)x0 + 0.5f - s[0].x, w[3];
        w[1] = (px * (s[2].y - s[0].y) - py * (s[2].x - s[0].x)) * scale;
        w[2] = (py * (s[1].x - s[0].x) - px * (s[1].y - s[0].y)) * scale;
        for (int x = x0; x <= x1; x++, w[1] += step1, w[2] += step2) {
            w[0] = 1.0f - w[1] - w[2];
            if (w[0] < 0.0f || w[1] < 0.0f || w[2] < 0.0f) continue;
            size_t at = (size_t)y * (size_t)view->w + (size_t)x;
            float z = mix3(s[0].z, s[1].z, s[2].z, w);
            if (z <= view->depth[at]) continue;
            Vertex f;
            f.at = mix3_vec(v[0]->at, v[1]->at, v[2]->at, w);
            f.u = mix3(v[0]->u, v[1]->u, v[2]->u, w), f.v = mix3(v[0]->v, v[1]->v, v[2]->v, w);
            f.a = mix3(v[0]->a, v[1]->a, v[2]->a, w), f.b = mix3(v[0]->b, v[1]->b, v[2]->b, w);
            if (view->colour) {
                f.normal = mix3_vec(v[0]->normal, v[1]->normal, v[2]->normal, w);
                f.flow = mix3_vec(v[0]->flow, v[1]->flow, v[2]->flow, w);
            }
            Rgb colour;
            float alpha = shade(what, &f, back, &colour);
            if (alpha <= 0.0f) continue;
            if (view->colour) view->colour[at] = rgb_mix(view->colour[at], colour, fminf(alpha, 1.0f));
            if (alpha > 0.5f) view->depth[at] = z;
        }
    }
}

void view_draw(View *view, const Sheet *sheet, Side side, Shade shade, const void *what) {
    int cols = sheet->cols, span = sheet->wrap ? cols : cols - 1;
    for (int i = 0; i + 1 < sheet->rows; i++)
        for (int j = 0; j < span; j++) {
            const Vertex *row = sheet->v + i * cols, *next = row + cols;
            const Vertex *q[4] = {row + j, next + j, next + (j + 1) % cols, row + (j + 1) % cols};
            Vec s[4];
            for (int k = 0; k < 4; k++) s[k] = view_project(view, q[k]->at);
            draw_triangle(view, (const Vertex *[3]){q[0], q[1], q[2]}, (Vec[3]){s[0], s[1], s[2]}, side,
                          shade, what);
            draw_triangle(view, (const Vertex *[3]){q[0], q[2], q[3]}, (Vec[3]){s[0], s[2], s[3]}, side,
                          shade, what);
        }
}
