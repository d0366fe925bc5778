#include "cli/cli.h"
#include "cli/options.h"
#include "core/file.h"
#include "core/sign.h"

#include <stdio.h>

static const char usage[] = "usage: lethe keygen --out KEY\n"
                            "\n"
                            "Makes a pair of Ed25519 keys to sign certificates of deletion with: KEY, the "
                            "private one, in a file that only\n"
                            "you may read, and KEY.pub, the public one, which anybody may have. Both are "
                            "PEM, as openssl writes them. A file\n"
                            "that is there already is not replaced.\n"
                            "\n"
                            "  --out KEY   where to\n";

static bool make(const char *path, Error *e) {
    char public_path[FILE_PATH], fingerprint[HASH_TEXT];
    SignKey *k = NULL;
    bool ok = sign_key_make(&k, e) && sign_fingerprint(sign_key_public(k), fingerprint, e) &&
              sign_pair_write(k, path, public_path, e);
    sign_key_close(k);
    if (!ok) return false;
    printf("%s: the private key. Keep it secret and keep a copy: whoever has it can sign in your name.\n",
           path);
    printf("%s: the public key. Give it to whoever shall check your certificates, by a way they trust.\n",
           public_path);
    printf("fingerprint %s\n", fingerprint);
    printf("Tell them the fingerprint by another way, too: lethe verify prints it.\n");
    return true;
}

int cli_keygen(int argc, char **argv) {
    static OptionList rest;
    const char *out = NULL;
    Error e = {0};
    const Option options[] = {{"out", OPTION_TEXT, &out}, {0}};
    rest.count = 0;
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count || !out || !out[0]) {
        error_set(&e, ERROR_VALUE, "keygen takes --out KEY and nothing else; see lethe keygen --help");
        return cli_fail(&e);
    }
    return make(out, &e) ? 0 : cli_fail(&e);
}
