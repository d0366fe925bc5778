#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_error(Error *e, const char *path, const char *verb, int code) {
    const char *hint = "";
    if (code == ENOSPC || code == EDQUOT) hint = "; free some space";
    if (code == EACCES || code == EPERM) hint = "; check the permissions";
    if (code == EMFILE || code == ENFILE) hint = "; raise the limit of open files (ulimit -n)";
    return error_set(e, code == ENOMEM ? ERROR_MEMORY : ERROR_IO, "%s: cannot %s it: %s%s", path, verb,
                     strerror(code), hint);
}

static FileKind kind_of(const struct stat *s) {
    if (S_ISREG(s->st_mode)) return FILE_REGULAR;
    if (S_ISDIR(s->st_mode)) return FILE_FOLDER;
    return S_ISLNK(s->st_mode) ? FILE_LINK : FILE_OTHER;
}

FileKind file_kind(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 ? kind_of(&s) : FILE_NONE;
}

FileKind file_kind_link(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0 ? kind_of(&s) : FILE_NONE;
}

bool file_id(const char *path, FileId *out) {
    struct stat s;
    if (stat(path, &s) != 0) return false;
    *out = (FileId){s.st_dev, s.st_ino};
    return true;
}

/* Reads on until the end or `room` bytes; -1 with errno on error. */
static int64_t read_some(int fd, char *to, size_t room) {
    size_t have = 0;
    while (have < room) {
        ssize_t n = read(fd, to + have, room - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        have += (size_t)n;
    }
    return (int64_t)have;
}

bool file_read(const char *path, size_t cap, char **text, size_t *size, Error *e) {
    bool ok = false;
    char *data = NULL;
    struct stat s;
    *text = NULL, *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return file_error(e, path, "open", errno);
    if (fstat(fd, &s) != 0) {
        file_error(e, path, "read", errno);
        goto out;
    }
    if (S_ISDIR(s.st_mode)) {
        error_set(e, ERROR_IO, "%s: a folder; expected a file", path);
        goto out;
    }
    if (S_ISREG(s.st_mode) && s.st_size > 0 && (uint64_t)s.st_size > cap) {
        error_set(e, ERROR_LIMIT, "%s: larger than the limit of %zu bytes", path, cap);
        goto out;
    }
    /* The size is a first guess only: pipes have none and a file may grow while it is read. */
    size_t have = 0, room = S_ISREG(s.st_mode) && s.st_size > 0 ? (size_t)s.st_size : 1 << 16;
    for (;;) {
        if (room > cap) room = cap;
        char *larger = mem_resize(data, room + 1); /* one byte to notice more, or for the NUL */
        if (!larger) {
            error_memory(e, room + 1);
            error_prefix(e, "%s", path);
            goto out;
        }
        data = larger;
        int64_t n = read_some(fd, data + have, room + 1 - have);
        if (n < 0) {
            file_error(e, path, "read", errno);
            goto out;
        }
        have += (size_t)n;
        if (have <= room) break;
        if (room >= cap) {
            error_set(e, ERROR_LIMIT, "%s: larger than the limit of %zu bytes", path, cap);
            goto out;
        }
        room *= 2;
    }
    data[have] = 0;
    *text = data, *size = have;
    ok = true;
out:
    if (!ok) mem_free(data);
    close(fd);
    return ok;
}

bool file_put(int fd, const void *data, size_t size) {
    for (const char *at = data; size > 0;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool file_sync_folder(const char *path, Error *e) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return file_error(e, path, "open", errno);
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* EINVAL: a file system that cannot sync folders */
    if (!ok) file_error(e, path, "sync", errno);
    close(fd);
    return ok;
}

/* The folder that holds `path`: "." for a bare name, "/" at the top. */
static bool parent_of(const char *path, char *out, size_t size, Error *e) {
    size_t n = (size_t)(file_base(path) - path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (n >= size) return error_set(e, ERROR_LIMIT, "%.200s...: the path is too long", path);
    memcpy(out, path, n);
    out[n] = 0;
    if (n == 0) memcpy(out, ".", 2);
    return true;
}

/* "PATH.PID.tmp", in the same folder, so that it can be renamed. */
static bool beside_of(const char *path, char *out, size_t size, Error *e) {
    int n = snprintf(out, size, "%s.%ld.tmp", path, (long)getpid());
    if (n >= 0 && (size_t)n < size) return true;
    return error_set(e, ERROR_LIMIT, "%.200s...: the path is too long", path);
}

/* Writes, fsyncs and closes. 0, or the errno of what failed. */
static int fill(int fd, const void *data, size_t size) {
    int code = 0;
    if (!file_put(fd, data, size) || fsync(fd) != 0) code = errno;
    if (close(fd) != 0 && !code) code = errno;
    return code;
}

static bool replace(const char *path, mode_t mode, const void *data, size_t size, Error *e) {
    char beside[FILE_PATH], folder[FILE_PATH];
    if (!parent_of(path, folder, sizeof folder, e) || !beside_of(path, beside, sizeof beside, e))
        return false;
    unlink(beside); /* left by one that died, with a mode of its own */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return file_error(e, path, "write", errno);
    int code = fill(fd, data, size);
    if (!code && rename(beside, path) != 0) code = errno;
    if (code) {
        unlink(beside);
        return file_error(e, path, "write", code);
    }
    return file_sync_folder(folder, e);
}

bool file_write(const char *path, const void *data, size_t size, Error *e) {
    return replace(path, 0666, data, size, e);
}

bool file_replace_private(const char *path, const void *data, size_t size, Error *e) {
    return replace(path, 0600, data, size, e);
}

/* A link, unlike a rename, replaces nothing. */
static bool write_new(const char *path, mode_t mode, const void *data, size_t size, Error *e) {
    char beside[FILE_PATH], folder[FILE_PATH];
    if (!parent_of(path, folder, sizeof folder, e) || !beside_of(path, beside, sizeof beside, e))
        return false;
    unlink(beside); /* the process number is ours, so what stands there was left by one that died */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return file_error(e, path, "write", errno);
    int code = fill(fd, data, size);
    if (!code && link(beside, path) != 0) code = errno;
    unlink(beside);
    if (code == EEXIST)
        return error_set(e, ERROR_STATE, "%s: is there already and is not replaced; give another name", path);
    if (code) return file_error(e, path, "write", code);
    return file_sync_folder(folder, e);
}

bool file_write_private(const char *path, const void *data, size_t size, Error *e) {
    return write_new(path, 0600, data, size, e);
}

bool file_write_new(const char *path, const void *data, size_t size, Error *e) {
    return write_new(path, 0666, data, size, e);
}

bool file_make_folder(const char *path, Error *e) {
    char part[FILE_PATH];
    size_t n = strlen(path);
    if (n == 0) return error_set(e, ERROR_VALUE, "the name of a folder is empty");
    if (n >= sizeof part) return error_set(e, ERROR_LIMIT, "%.200s...: the path is too long", path);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char kept = part[i];
        part[i] = 0;
        int code = mkdir(part, 0777) == 0 ? 0 : errno;
        if (code && file_kind(part) != FILE_FOLDER)
            return file_error(e, part, "make", code == EEXIST ? ENOTDIR : code);
        part[i] = kept;
    }
    return true;
}

/* Removes the entry `name` of the open folder `fd`, and all below it. False with errno set. */
static bool remove_at(int fd, const char *name) {
    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT) return true;
    if (errno != EISDIR && errno != EPERM) return false; /* POSIX says EPERM for a folder, Linux EISDIR */
    int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) return false;
    DIR *d = fdopendir(inner);
    if (!d) {
        close(inner);
        return false;
    }
    bool ok = true;
    int code = 0;
    for (struct dirent *entry; ok && (errno = 0, entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        ok = remove_at(dirfd(d), entry->d_name);
    }
    code = errno;
    closedir(d);
    errno = code;
    return ok && code == 0 && unlinkat(fd, name, AT_REMOVEDIR) == 0;
}

bool file_remove_tree(const char *path, Error *e) {
    return remove_at(AT_FDCWD, path) || file_error(e, path, "remove", errno);
}

bool file_join(char *out, size_t size, const char *a, const char *b, Error *e) {
    size_t n = strlen(a);
    while (n > 1 && a[n - 1] == '/') n--;
    const char *slash = n == 0 || a[n - 1] == '/' ? "" : "/";
    int used =
        *b == '/' ? snprintf(out, size, "%s", b) : snprintf(out, size, "%.*s%s%s", (int)n, a, slash, b);
    if (used >= 0 && (size_t)used < size) return true;
    return error_set(e, ERROR_LIMIT, "%.200s.../%.200s: the path is too long", a, b);
}

const char *file_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool list_add(FileList *list, const char *name, int64_t *room) {
    if (list->count == *room) {
        int64_t larger = *room ? *room * 2 : 64;
        char **names = mem_resize(list->name, (size_t)larger * sizeof *names);
        if (!names) return false;
        list->name = names;
        *room = larger;
    }
    char *copy = mem_string(name);
    if (!copy) return false;
    list->name[list->count++] = copy;
    return true;
}

bool file_list_open(FileList *out, const char *folder, Error *e) {
    *out = (FileList){0};
    int64_t room = 0;
    DIR *d = opendir(folder);
    if (!d) return file_error(e, folder, "list", errno);
    bool ok = true;
    for (struct dirent *entry; ok && (errno = 0, entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        ok = list_add(out, entry->d_name, &room);
        if (!ok) errno = ENOMEM;
    }
    int code = errno;
    closedir(d);
    if (code) {
        file_list_close(out);
        return file_error(e, folder, "list", code);
    }
    if (out->count) qsort(out->name, (size_t)out->count, sizeof *out->name, text_order);
    return true;
}

void file_list_close(FileList *list) {
    for (int64_t i = 0; i < list->count; i++) mem_free(list->name[i]);
    mem_free(list->name);
    *list = (FileList){0};
}
