/* Does a value of the certificate name what was forgotten? */
#include "core/file.h"
#include "unlearn/certificate_facts.h"

#include <ctype.h>
#include <string.h>

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Does `text` hold `word` with no letter or digit before and behind it? */
static bool holds_word(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *at = text; n && (at = strstr(at, word)); at++)
        if ((at == text || !is_word(at[-1])) && !is_word(at[n])) return true;
    return false;
}

/* A number says nothing unless it stands alone: "7" is in "adamw, 7 epochs". */
static bool holds_name(const char *text, const char *name) {
    return name[strspn(name, "0123456789")] ? holds_word(text, name) : name[0] && !strcmp(text, name);
}

static bool check_text(const CertificateFacts *f, const char *key, const char *text, Error *e) {
    if (hash_is_text(text)) return true;
    if (f->request && holds_name(text, f->request))
        return error_set(
            e, ERROR_VALUE,
            "certificate: \"%s\" repeats the words of the request, which may name somebody; leave "
            "them out",
            key);
    for (int64_t i = 0; i < f->forgotten_count; i++) {
        const CertificateSample *s = &f->forgotten[i];
        if (strstr(text, s->path) || holds_word(text, file_base(s->path)) || holds_name(text, s->id))
            return error_set(
                e, ERROR_VALUE,
                "certificate: \"%s\" names a forgotten sample by its path, file name or id; leave "
                "it out",
                key);
    }
    return true;
}

static bool check_value(const CertificateFacts *f, const char *key, Json j, Error *e) {
    const char *text;
    if (json_key(j) && !check_text(f, key, json_key(j), e)) return false;
    if (json_type(j) == JSON_TEXT) return json_text(j, &text, e) && check_text(f, key, text, e);
    for (Json c = json_first(j); json_exists(c); c = json_next(c))
        if (!check_value(f, key, c, e)) return false;
    return true;
}

bool certificate_names_nobody(const CertificateFacts *f, const char *key, const char *json, Error *e) {
    JsonFile *doc = NULL;
    bool ok = json_open(&doc, key, json, strlen(json), e) && check_value(f, key, json_root(doc), e);
    json_close(doc);
    return ok;
}
