/* Which requests come from our own page: Host and Origin. */
#include "cli/serve_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PORT = 8000 };

static void host_is_ours(void **state) {
    (void)state;
    const char *const ours[] = {"127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000",
                                "127.0.0.2:8000"};
    const char *const others[] = {"",
                                  "127.0.0.1",
                                  "127.0.0.1:80",
                                  "evil.example:8000",
                                  "127.0.0.1.evil:8000",
                                  ":8000",
                                  "127.0.0.1:8000x",
                                  "127.0.0.1:",
                                  "[::1:8000",
                                  "[]:8000",
                                  "10.0.0.1:8000",
                                  "127.1:8000",
                                  "127.0.0.1:0000008000"};
    for (int i = 0; i < COUNT(ours); i++) assert_true(guard_host(ours[i], "127.0.0.1", PORT));
    for (int i = 0; i < COUNT(others); i++) assert_false(guard_host(others[i], "127.0.0.1", PORT));
    assert_false(guard_host(NULL, "127.0.0.1", PORT));
}

static void host_is_what_was_told(void **state) {
    (void)state;
    assert_true(guard_host("lab.example:8000", "lab.example", PORT));
    assert_true(guard_host("lab.example", "lab.example", 80));
    assert_false(guard_host("lab.example", "lab.example", PORT));
    assert_false(guard_host("other.example:8000", "lab.example", PORT));
    assert_true(guard_host("10.0.0.1:8000", "10.0.0.1", PORT));
    /* every address: any number, but no name that someone may have led here */
    assert_true(guard_host("10.0.0.1:8000", "0.0.0.0", PORT));
    assert_true(guard_host("[fd00::1]:8000", "::", PORT));
    assert_false(guard_host("evil.example:8000", "0.0.0.0", PORT));
}

static void origin_is_ours(void **state) {
    (void)state;
    const char *host = "127.0.0.1:8000";
    assert_true(guard_origin(NULL, NULL, host));
    assert_true(guard_origin("http://127.0.0.1:8000", "same-origin", host));
    assert_true(guard_origin(NULL, "none", host));
    assert_false(guard_origin("http://127.0.0.1:8001", NULL, host));
    assert_false(guard_origin("https://127.0.0.1:8000", NULL, host));
    assert_false(guard_origin("http://127.0.0.1:8000.evil.example", NULL, host));
    assert_false(guard_origin("null", NULL, host));
    assert_false(guard_origin("", NULL, host));
    assert_false(guard_origin(NULL, "same-site", host));
    assert_false(guard_origin(NULL, "cross-site", host));
}

static void loopback(void **state) {
    (void)state;
    assert_true(guard_loopback("127.0.0.1") && guard_loopback("::1") && guard_loopback("localhost"));
    assert_false(guard_loopback("0.0.0.0") || guard_loopback("::") || guard_loopback("192.168.1.2"));
    assert_false(guard_loopback("localhost.evil.example"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_is_ours),
        cmocka_unit_test(host_is_what_was_told),
        cmocka_unit_test(origin_is_ours),
        cmocka_unit_test(loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
