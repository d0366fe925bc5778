/* The painter and the view: areas, clipping, blending and depth against what geometry says. */
#include "core/rng.h"
#include "data/noise.h"
#include "data/solid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Canvas canvas;
static Brush brush;

static void open_canvas(int w, int h) {
    Error e;
    if (!canvas_new(&canvas, w, h, &e) || !brush_new(&brush, &canvas, &e)) fail_msg("%s", e.text);
    canvas_fill(&canvas, (Rgb){0});
}

static void close_canvas(void) {
    brush_free(&brush);
    canvas_free(&canvas);
}

static double covered(void) {
    double sum = 0.0;
    for (int y = brush.box.y0; y < brush.box.y1; y++)
        for (int x = brush.box.x0; x < brush.box.x1; x++) sum += brush.cover.v[y * canvas.w + x];
    return sum;
}

static double shoelace(const Path *path) {
    double sum = 0.0;
    for (int i = 0; i < path->points; i++) {
        int j = (i + 1) % path->points;
        sum += (double)path->x[i] * path->y[j] - (double)path->x[j] * path->y[i];
    }
    return fabs(sum) / 2.0;
}

static void test_area_is_exact(void **state) {
    (void)state;
    Rng r = rng_open(1, RNG_TEST, 0, 0);
    open_canvas(64, 48);
    for (int n = 0; n < 200; n++) { /* star-shaped polygons, so that they do not cross themselves */
        Path path;
        int corners = 3 + (int)rng_below(&r, 9);
        path_clear(&path);
        for (int i = 0; i < corners; i++) {
            float a = 6.2831853f * ((float)i + 0.8f * rng_uniformf(&r)) / (float)corners,
                  rad = 3.0f + 19.0f * rng_uniformf(&r);
            if (i == 0) path_move(&path, 32.0f + rad * cosf(a), 24.0f + rad * sinf(a));
            if (i > 0) path_line(&path, 32.0f + rad * cosf(a), 24.0f + rad * sinf(a));
        }
        draw_path(&brush, &path);
        if (fabs(covered() - shoelace(&path)) > 0.02)
            fail_msg("polygon %d: covers %g, its area is %g", n, covered(), shoelace(&path));
    }
    close_canvas();
}

/* What a small canvas shows is what a large one shows there. */
static void test_clipping_changes_nothing(void **state) {
    (void)state;
    Rng r = rng_open(2, RNG_TEST, 0, 0);
    for (int n = 0; n < 60; n++) {
        Path path;
        float x = (float)rng_range(&r, -10.0, 42.0), y = (float)rng_range(&r, -10.0, 42.0),
              a = (float)rng_range(&r, 2.0, 30.0), b = (float)rng_range(&r, 2.0, 30.0),
              turn = (float)rng_range(&r, 0.0, 6.0);
        static float whole[96 * 96];
        path_clear(&path);
        path_ellipse(&path, x, y, a, b, turn);
        open_canvas(96, 96);
        brush.map.x0 = brush.map.y0 = 32.0f;
        draw_path(&brush, &path);
        draw_flat(&brush, (Rgb){1.0f, 1.0f, 1.0f}, 1.0f, BLEND_OVER);
        for (int i = 0; i < 96 * 96; i++) whole[i] = canvas.px[i].r;
        close_canvas();
        open_canvas(32, 32);
        draw_path(&brush, &path);
        draw_flat(&brush, (Rgb){1.0f, 1.0f, 1.0f}, 1.0f, BLEND_OVER);
        for (int i = 0; i < 32 * 32; i++) {
            float want = whole[(i / 32 + 32) * 96 + i % 32 + 32];
            if (fabsf(canvas.px[i].r - want) > 1e-3f)
                fail_msg("ellipse %d: pixel (%d, %d) is %g, not %g", n, i % 32, i / 32,
                         (double)canvas.px[i].r, (double)want);
        }
        close_canvas();
    }
}

static void test_opposite_winding_is_a_hole(void **state) {
    (void)state;
    Path path;
    open_canvas(64, 64);
    path_clear(&path);
    path_move(&path, 8, 8), path_line(&path, 56, 8), path_line(&path, 56, 56), path_line(&path, 8, 56);
    path_move(&path, 16, 16), path_line(&path, 16, 48), path_line(&path, 48, 48), path_line(&path, 48, 16);
    draw_path(&brush, &path);
    assert_true(fabs(covered() - (48.0 * 48.0 - 32.0 * 32.0)) < 1e-2);
    assert_true(brush.cover.v[32 * 64 + 32] == 0.0f);
    close_canvas();
}

static void test_softening_keeps_the_sum(void **state) {
    (void)state;
    Path path;
    open_canvas(96, 96);
    path_clear(&path);
    path_ellipse(&path, 48.0f, 48.0f, 14.0f, 9.0f, 0.4f);
    draw_path(&brush, &path);
    double before = covered();
    draw_soften(&brush, 5.0f);
    assert_true(fabs(covered() - before) < 0.01 * before);
    assert_true(brush.cover.v[48 * 96 + 48] < 1.0f);
    close_canvas();
}

static void test_blur_keeps_a_constant_and_the_mean(void **state) {
    (void)state;
    Error e;
    static const float sigmas[] = {0.3f, 0.7f, 1.5f, 2.5f, 9.0f, 60.0f};
    for (int s = 0; s < COUNT(sigmas); s++) {
        open_canvas(40, 24);
        canvas_fill(&canvas, (Rgb){0.25f, 0.5f, 0.75f});
        assert_true(canvas_blur(&canvas, sigmas[s], &e));
        for (int i = 0; i < 40 * 24; i++) assert_true(fabsf(canvas.px[i].g - 0.5f) < 1e-4f);
        canvas_fill(&canvas, (Rgb){0});
        canvas.px[12 * 40 + 20].r = 1.0f;
        assert_true(canvas_blur(&canvas, sigmas[s], &e));
        float sum = 0.0f;
        for (int i = 0; i < 40 * 24; i++) sum += canvas.px[i].r;
        if (sigmas[s] < 3.0f) assert_true(fabsf(sum - 1.0f) < 1e-3f);
        assert_true(canvas.px[12 * 40 + 20].r < 1.0f);
        close_canvas();
    }
}

static void test_bytes_follow_srgb(void **state) {
    (void)state;
    static const struct {
        float linear;
        int want;
    } known[] = {{-1.0f, 0},     {0.0f, 0},   {0.0021f, 7}, {0.05f, 63},
                 {0.2140f, 127}, {0.5f, 188}, {0.69f, 217}, {5.0f, 255}};
    uint8_t rgb[3];
    open_canvas(1, 1);
    for (int i = 0; i < COUNT(known); i++) {
        float x = known[i].linear;
        canvas.px[0] = (Rgb){x, x, x};
        draw_bytes(&canvas, rgb);
        if (abs(rgb[1] - known[i].want) > 1)
            fail_msg("linear %g became %d, not %d", (double)x, rgb[1], known[i].want);
    }
    for (uint32_t grey = 0; grey < 210;
         grey++) { /* below the shoulder, bytes survive the way there and back */
        canvas.px[0] = rgb_hex(grey << 16 | grey << 8 | grey);
        draw_bytes(&canvas, rgb);
        assert_int_equal(rgb[0], grey);
    }
    close_canvas();
}

static void test_noise_has_mean_0_and_variance_1(void **state) {
    (void)state;
    Noise *noise = mem_get(sizeof *noise);
    double sum = 0.0, square = 0.0;
    assert_non_null(noise);
    noise_fill(noise, 3);
    for (int i = 0; i < 128 * 128; i++) {
        float v = noise_cloud(noise, (float)(i % 128) / 128.0f, (float)(i / 128) / 128.0f);
        sum += v, square += (double)v * v;
    }
    assert_true(fabs(sum / (128 * 128)) < 0.05);
    assert_true(fabs(square / (128 * 128) - 1.0) < 0.1);
    assert_true(fabsf(noise_cloud(noise, 0.37f, 0.21f) - noise_cloud(noise, 3.37f, -1.79f)) < 1e-3f);
    assert_true(fabsf(noise_value(noise, 7.25f, 2.5f) -
                      noise_value(noise, 7.25f + NOISE_SIDE, 2.5f - NOISE_SIDE)) < 1e-3f);
    mem_free(noise);
}

/* ------------------------------------------------------------------ solids */

static View view;
static float depth[128 * 128], veil[128 * 128];

static void open_view(float scale) {
    open_canvas(128, 128);
    view = (View){.w = 128,
                  .h = 128,
                  .depth = depth,
                  .colour = canvas.px,
                  .right = {1, 0, 0},
                  .up = {0, 1, 0},
                  .toward = {0, 0, 1},
                  .scale = scale,
                  .cx = 64,
                  .cy = 64};
    view_clear(&view);
}

static void ball(Sheet *sheet, Vec at, float radius, float shade) {
    Error e;
    if (!sheet_new(sheet, 33, 48, true, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < 33; i++)
        for (int j = 0; j < 48; j++) {
            float t = 3.14159265f * (float)i / 32.0f, a = 6.2831853f * (float)j / 48.0f;
            Vec n = {sinf(t) * sinf(a), cosf(t), sinf(t) * cosf(a)};
            sheet->v[i * 48 + j] = (Vertex){.at = vec_plus(at, vec_scale(n, radius)), .a = shade};
        }
    sheet_normals(sheet);
}

static float shade_flat(const void *what, const Vertex *v, bool back, Rgb *out) {
    (void)back;
    *out = (Rgb){v->a, v->a, v->a};
    return *(const float *)what;
}

static void test_ball_covers_its_disc_and_normals_point_out(void **state) {
    (void)state;
    Sheet sheet;
    const float solid = 1.0f;
    open_view(40.0f);
    ball(&sheet, (Vec){0}, 1.0f, 0.5f);
    for (int i = 0; i < 33 * 48; i++) assert_true(vec_dot(sheet.v[i].normal, sheet.v[i].at) > 0.98f);
    view_draw(&view, &sheet, 1, SIDE_FRONT, shade_flat, &solid);
    int lit = 0;
    for (int i = 0; i < 128 * 128; i++) lit += canvas.px[i].r > 0.0f;
    assert_true(fabs(lit - 3.14159 * 40.0 * 40.0) < 0.02 * 3.14159 * 1600.0);
    assert_true(fabsf(depth[64 * 128 + 64] - 1.0f) < 0.01f); /* the front, not the back */
    sheet_free(&sheet);
    close_canvas();
}

static void test_nearest_wins_in_any_order(void **state) {
    (void)state;
    Sheet near, far;
    const float solid = 1.0f;
    for (int order = 0; order < 2; order++) {
        open_view(40.0f);
        ball(&near, (Vec){0.2f, 0.0f, 0.5f}, 0.6f, 0.9f);
        ball(&far, (Vec){-0.2f, 0.0f, -0.5f}, 0.6f, 0.3f);
        view_draw(&view, order ? &near : &far, 1, SIDE_FRONT, shade_flat, &solid);
        view_draw(&view, order ? &far : &near, 1, SIDE_FRONT, shade_flat, &solid);
        assert_true(fabsf(canvas.px[64 * 128 + 64].r - 0.9f) < 1e-5f);
        assert_true(fabsf(canvas.px[64 * 128 + 36].r - 0.3f) < 1e-5f);
        sheet_free(&near);
        sheet_free(&far);
        close_canvas();
    }
}

static void test_veil_from_near_to_far_is_blending_from_far_to_near(void **state) {
    (void)state;
    Sheet sheet[3];
    const float glass = 0.45f; /* leaves no depth */
    static Rgb behind[128 * 128];
    open_view(40.0f);
    for (int k = 0; k < 3; k++)
        ball(&sheet[k], (Vec){0.1f * (float)k, 0.0f, 0.4f * (float)k}, 0.7f, 0.2f + 0.3f * (float)k);
    canvas_fill(&canvas, (Rgb){0.8f, 0.1f, 0.4f});
    for (int k = 0; k < 3; k++) view_draw(&view, &sheet[k], 1, SIDE_FRONT, shade_flat, &glass);
    for (int i = 0; i < 128 * 128; i++) behind[i] = (Rgb){0.8f, 0.1f, 0.4f};
    Canvas layer;
    Error e;
    assert_true(canvas_new(&layer, 128, 128, &e));
    View other = view;
    other.colour = layer.px, other.veil = veil;
    view_clear(&other);
    view_veil(&other);
    for (int k = 2; k >= 0; k--) view_draw(&other, &sheet[k], 1, SIDE_FRONT, shade_flat, &glass);
    view_unveil(&other, behind);
    for (int i = 0; i < 128 * 128; i++)
        assert_true(fabsf(behind[i].r - canvas.px[i].r) < 1e-4f &&
                    fabsf(behind[i].g - canvas.px[i].g) < 1e-4f);
    for (int k = 0; k < 3; k++) sheet_free(&sheet[k]);
    canvas_free(&layer);
    close_canvas();
}

static void test_turning_keeps_lengths_and_goes_the_said_way(void **state) {
    (void)state;
    Sheet sheet;
    ball(&sheet, (Vec){0}, 1.0f, 0.0f);
    Turn turn = turn_of(0.5f, 0.3f, -0.2f, (Vec){0.1f, 0.2f, 0.3f}, (Vec){0});
    Vec before = vec_minus(sheet.v[5].at, sheet.v[900].at);
    sheet_turn(&sheet, &turn);
    Vec after = vec_minus(sheet.v[5].at, sheet.v[900].at);
    assert_true(fabsf(vec_dot(before, before) - vec_dot(after, after)) < 1e-4f);
    sheet_free(&sheet);
    Turn yaw = turn_of(0.4f, 0.0f, 0.0f, (Vec){0}, (Vec){0}),
         pitch = turn_of(0.0f, 0.4f, 0.0f, (Vec){0}, (Vec){0});
    assert_true(yaw.z.x > 0.3f && fabsf(yaw.z.y) < 1e-6f);     /* the nose goes right */
    assert_true(pitch.z.y > 0.3f && fabsf(pitch.z.x) < 1e-6f); /* and up */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_area_is_exact),
        cmocka_unit_test(test_clipping_changes_nothing),
        cmocka_unit_test(test_opposite_winding_is_a_hole),
        cmocka_unit_test(test_softening_keeps_the_sum),
        cmocka_unit_test(test_blur_keeps_a_constant_and_the_mean),
        cmocka_unit_test(test_bytes_follow_srgb),
        cmocka_unit_test(test_noise_has_mean_0_and_variance_1),
        cmocka_unit_test(test_ball_covers_its_disc_and_normals_point_out),
        cmocka_unit_test(test_nearest_wins_in_any_order),
        cmocka_unit_test(test_veil_from_near_to_far_is_blending_from_far_to_near),
        cmocka_unit_test(test_turning_keeps_lengths_and_goes_the_said_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
