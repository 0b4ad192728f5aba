/* Writes down what a process does to the files below a directory, so that a power cut can be made up afterwards.
 *
 * Loaded by LD_PRELOAD. POWER_CUT_DIRECTORY is the directory (absolute, without links), POWER_CUT_LOG the file of the
 * record, POWER_CUT_SYNC_US the longest time in microseconds that a sync takes instead of reaching the device.
 *
 * Each call that changes a file or a name is carried out and recorded under one lock, so the record is in the order in
 * which things happened, whatever thread did them. A sync is two records, its start and its end: what is recorded
 * before the start is on the device once the end is recorded. A file is known by its inode, whichever descriptor
 * writes to it. System calls are made directly: nothing here depends on the library that it stands before, but for
 * streams (fopen): libc writes those unseen, so what such a file holds is recorded when it is synced.
 *
 * A call that could change files unseen (a writable shared mapping) is recorded as such, and the reader gives up on it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
    OPENED = 1,    /* path; first: open flags, second: whether it is a directory */
    WRITTEN = 2,   /* data; first: offset, second: whether it is synced */
    TRUNCATED = 3, /* first: length */
    ALLOCATED = 4, /* first: offset, second: length; the size grows to their sum at least */
    ZEROED = 5,    /* first: offset, second: length */
    SYNC_BEGUN = 6, /* first: number of the sync; inode 0: of everything */
    SYNC_ENDED = 7, /* first: number of the sync */
    RENAMED = 8,   /* path, NUL, path; first: whether the two were exchanged */
    UNLINKED = 9,  /* path */
    MADE_DIRECTORY = 10,
    REMOVED_DIRECTORY = 11,
    LINKED = 12, /* path, NUL, path */
    UNSEEN = 13, /* the call's name */
};

struct head {
    uint64_t kind, inode, first, second, length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[4096];
static size_t directory_length;
static int log_descriptor = -1;
static long longest_sync_us;
static uint64_t syncs;

/* Sets of inodes: open addressing, 0 is free. One that is reused outside is followed for nothing, which does no harm. */
#define TABLE 65536
struct set {
    uint64_t inodes[TABLE];
    size_t count;
};
static struct set followed, streams;

static int contains(const struct set *set, uint64_t inode) {
    for (size_t at = inode % TABLE;; at = (at + 1) % TABLE) {
        if (set->inodes[at] == inode) return 1;
        if (set->inodes[at] == 0) return 0;
    }
}

static void add(struct set *set, uint64_t inode) {
    size_t at = inode % TABLE;
    for (; set->inodes[at] != 0; at = (at + 1) % TABLE)
        if (set->inodes[at] == inode) return;
    if (++set->count > TABLE / 2) abort();
    set->inodes[at] = inode;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_CUT_DIRECTORY"), *log = getenv("POWER_CUT_LOG"), *us = getenv("POWER_CUT_SYNC_US");
    if (!path || !log) return;
    directory_length = strlen(path);
    if (directory_length >= sizeof directory) abort();
    memcpy(directory, path, directory_length + 1);
    longest_sync_us = us ? atol(us) : 0;
    int opened = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (opened < 0) abort();
    /* Out of the way of programs that expect low numbers. */
    log_descriptor = (int)syscall(SYS_fcntl, opened, F_DUPFD_CLOEXEC, 512);
    if (log_descriptor < 0) log_descriptor = opened;
    else syscall(SYS_close, opened);
}

static void record(enum kind kind, uint64_t inode, uint64_t first, uint64_t second, const void *data, size_t length) {
    struct head head = {kind, inode, first, second, length};
    struct iovec pieces[2] = {{&head, sizeof head}, {(void *)data, length}};
    int saved = errno, at = 0;
    while (at < 2) {
        long written = syscall(SYS_writev, log_descriptor, pieces + at, 2 - at);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) abort();
        for (; at < 2 && (size_t)written >= pieces[at].iov_len; at++) written -= (long)pieces[at].iov_len;
        if (at < 2) {
            pieces[at].iov_base = (char *)pieces[at].iov_base + written;
            pieces[at].iov_len -= (size_t)written;
        }
    }
    errno = saved;
}

static int is_below(const char *path) {
    return log_descriptor >= 0 && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == 0);
}

/* The path that a descriptor was opened with, as the kernel has it. */
static int path_of(int descriptor, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return 0;
}

/* An absolute path for one relative to `at`; the two are taken to hold no links and no dots. */
static void absolute(int at, const char *path, char *whole, size_t size) {
    char base[4096] = "";
    if (path[0] == '/') {
        snprintf(whole, size, "%s", path);
    } else {
        if (at == AT_FDCWD) syscall(SYS_getcwd, base, sizeof base);
        else path_of(at, base, sizeof base);
        snprintf(whole, size, "%.2047s/%.2047s", base, path);
    }
    char *to = whole;
    for (char *from = whole; *from; from++) {
        if (from[0] == '/' && from[1] == '/') continue;
        if (from[0] == '/' && from[1] == '.' && from[2] == '/') { from++; continue; }
        *to++ = *from;
    }
    *to = 0;
}

/* The inode where the file of `descriptor` is followed, or 0. */
static uint64_t inode_of(int descriptor, struct stat *status) {
    if (log_descriptor < 0) return 0;
    int saved = errno;
    if (fstat(descriptor, status) != 0) {
        errno = saved;
        return 0;
    }
    int is_file = S_ISREG(status->st_mode) || S_ISDIR(status->st_mode);
    return is_file && contains(&followed, status->st_ino) ? status->st_ino : 0;
}

/* Opening */

/* Under the lock. */
static uint64_t record_opened(int descriptor, int flags) {
    char whole[4096];
    struct stat status;
    if (descriptor < 0 || path_of(descriptor, whole, sizeof whole) != 0 || !is_below(whole)) return 0;
    if (fstat(descriptor, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) return 0;
    add(&followed, status.st_ino);
    record(OPENED, status.st_ino, (uint64_t)flags, S_ISDIR(status.st_mode), whole, strlen(whole));
    return status.st_ino;
}

static int open_and_record(int at, const char *path, int flags, mode_t mode) {
    if (log_descriptor < 0) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int descriptor = (int)syscall(SYS_openat, at, path, flags, mode);
    record_opened(descriptor, flags);
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static FILE *open_stream(const char *name, const char *path, const char *mode) {
    FILE *(*original)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, name);
    if (!original) abort();
    if (log_descriptor < 0 || (mode[0] == 'r' && !strchr(mode, '+'))) return original(path, mode);
    pthread_mutex_lock(&lock);
    FILE *stream = original(path, mode);
    uint64_t inode = stream ? record_opened(fileno(stream), mode[0] == 'w' ? O_TRUNC : 0) : 0;
    if (inode) add(&streams, inode);
    pthread_mutex_unlock(&lock);
    return stream;
}

FILE *fopen(const char *path, const char *mode) { return open_stream("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return open_stream("fopen64", path, mode); }

#define MODE_OF(flags)                                        \
    mode_t mode = 0;                                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                    \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode = va_arg(more, mode_t);                          \
        va_end(more);                                         \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_and_record(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_and_record(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_and_record(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_and_record(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_and_record(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_and_record(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return open_and_record(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return open_and_record(at, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_and_record(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Writing */

static ssize_t write_and_record(int descriptor, const struct iovec *pieces, int count, off_t offset, int flags) {
    struct stat status;
    int is_positioned = offset != -1;
    uint64_t inode = inode_of(descriptor, &status);
    if (inode) {
        pthread_mutex_lock(&lock);
        long mode = syscall(SYS_fcntl, descriptor, F_GETFL);
        if (mode & O_APPEND) {
            fstat(descriptor, &status);
            offset = status.st_size;
        } else if (!is_positioned) {
            offset = syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
        }
        ssize_t written = is_positioned
            ? syscall(SYS_pwritev2, descriptor, pieces, (long)count, (long)offset, 0L, (long)flags)
            : syscall(SYS_writev, descriptor, pieces, (long)count);
        int is_synced = (mode & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC));
        size_t left = written > 0 ? (size_t)written : 0;
        for (int at = 0; left > 0; at++) {
            size_t length = pieces[at].iov_len < left ? pieces[at].iov_len : left;
            if (length > 0) record(WRITTEN, inode, (uint64_t)offset, (uint64_t)is_synced, pieces[at].iov_base, length);
            offset += (off_t)length;
            left -= length;
        }
        pthread_mutex_unlock(&lock);
        return written;
    }
    if (!is_positioned && count == 1) return syscall(SYS_write, descriptor, pieces->iov_base, pieces->iov_len);
    if (!is_positioned) return syscall(SYS_writev, descriptor, pieces, (long)count);
    return syscall(SYS_pwritev2, descriptor, pieces, (long)count, (long)offset, 0L, (long)flags);
}

ssize_t write(int descriptor, const void *data, size_t length) {
    struct iovec piece = {(void *)data, length};
    return write_and_record(descriptor, &piece, 1, -1, 0);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    struct iovec piece = {(void *)data, length};
    return write_and_record(descriptor, &piece, 1, offset, 0);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) {
    return pwrite(descriptor, data, length, offset);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    return write_and_record(descriptor, pieces, count, -1, 0);
}

ssize_t pwritev(int descriptor, const struct iovec *pieces, int count, off_t offset) {
    return write_and_record(descriptor, pieces, count, offset, 0);
}

ssize_t pwritev64(int descriptor, const struct iovec *pieces, int count, off64_t offset) {
    return write_and_record(descriptor, pieces, count, offset, 0);
}

ssize_t pwritev2(int descriptor, const struct iovec *pieces, int count, off_t offset, int flags) {
    return write_and_record(descriptor, pieces, count, offset, flags);
}

ssize_t pwritev64v2(int descriptor, const struct iovec *pieces, int count, off64_t offset, int flags) {
    return write_and_record(descriptor, pieces, count, offset, flags);
}

/* Copies inside the kernel: whoever asks falls back on reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length, unsigned flags) {
    struct stat status;
    if (!inode_of(out, &status)) return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, length, flags);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
    struct stat status;
    if (!inode_of(out, &status)) return syscall(SYS_sendfile, out, in, offset, length);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) { return sendfile(out, in, offset, length); }

/* Size */

int ftruncate(int descriptor, off_t length) {
    struct stat status;
    uint64_t inode = inode_of(descriptor, &status);
    if (!inode) return (int)syscall(SYS_ftruncate, descriptor, length);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, descriptor, length);
    if (result == 0) record(TRUNCATED, inode, (uint64_t)length, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

int truncate(const char *path, off_t length) {
    int descriptor = open_and_record(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    int result = ftruncate(descriptor, length);
    syscall(SYS_close, descriptor);
    return result;
}

int truncate64(const char *path, off64_t length) { return truncate(path, length); }

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    struct stat status;
    uint64_t inode = inode_of(descriptor, &status);
    if (!inode) return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
    if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
    if (result == 0) {
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
            record(ZEROED, inode, (uint64_t)offset, (uint64_t)length, NULL, 0);
        if (!(mode & FALLOC_FL_KEEP_SIZE)) record(ALLOCATED, inode, (uint64_t)offset, (uint64_t)length, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) {
    return fallocate(descriptor, mode, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
    int saved = errno, result = fallocate(descriptor, 0, offset, length) == 0 ? 0 : errno;
    errno = saved;
    return result;
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t length) {
    return posix_fallocate(descriptor, offset, length);
}

/* Syncing */

/* Under the lock: what a stream has written to the file, which may be open for writing alone. */
static void record_content(int descriptor, uint64_t inode) {
    char path[64], piece[65536];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int reader = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (reader < 0) abort();
    long length;
    uint64_t offset = 0;
    while ((length = syscall(SYS_read, reader, piece, sizeof piece)) > 0) {
        record(WRITTEN, inode, offset, 0, piece, (size_t)length);
        offset += (uint64_t)length;
    }
    record(TRUNCATED, inode, offset, 0, NULL, 0);
    syscall(SYS_close, reader);
}

static int sync_and_record(int descriptor, long call) {
    struct stat status;
    uint64_t inode = inode_of(descriptor, &status);
    if (!inode) return (int)syscall(call, descriptor);
    if (call == SYS_syncfs) inode = 0;
    pthread_mutex_lock(&lock);
    if (contains(&streams, inode)) record_content(descriptor, inode);
    uint64_t number = ++syncs;
    record(SYNC_BEGUN, inode, number, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    int result = 0;
    if (longest_sync_us > 0) {
        /* Of different lengths, so that what happens meanwhile differs. */
        long us = (long)((number * 2654435761u) % (uint64_t)longest_sync_us);
        struct timespec pause = {us / 1000000, us % 1000000 * 1000};
        syscall(SYS_nanosleep, &pause, NULL);
    } else {
        result = (int)syscall(call, descriptor);
    }
    if (result == 0) {
        pthread_mutex_lock(&lock);
        record(SYNC_ENDED, inode, number, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int descriptor) { return sync_and_record(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_and_record(descriptor, SYS_fdatasync); }
int syncfs(int descriptor) { return sync_and_record(descriptor, SYS_syncfs); }

/* It promises nothing about a power cut. */
int sync_file_range(int descriptor, off64_t offset, off64_t length, unsigned flags) {
    return (int)syscall(SYS_sync_file_range, descriptor, offset, length, flags);
}

/* Names */

static int rename_and_record(int old_at, const char *old, int new_at, const char *new, unsigned flags) {
    if (log_descriptor < 0) return (int)syscall(SYS_renameat2, old_at, old, new_at, new, flags);
    char paths[8194];
    absolute(old_at, old, paths, 4096);
    size_t length = strlen(paths) + 1;
    absolute(new_at, new, paths + length, 4096);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, old_at, old, new_at, new, flags);
    if (result == 0 && (is_below(paths) || is_below(paths + length)))
        record(RENAMED, 0, flags & RENAME_EXCHANGE, 0, paths, length + strlen(paths + length));
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *old, const char *new) { return rename_and_record(AT_FDCWD, old, AT_FDCWD, new, 0); }

int renameat(int old_at, const char *old, int new_at, const char *new) {
    return rename_and_record(old_at, old, new_at, new, 0);
}

int renameat2(int old_at, const char *old, int new_at, const char *new, unsigned flags) {
    return rename_and_record(old_at, old, new_at, new, flags);
}

static int unlink_and_record(int at, const char *path, int flags) {
    if (log_descriptor < 0) return (int)syscall(SYS_unlinkat, at, path, flags);
    char whole[4096];
    absolute(at, path, whole, sizeof whole);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0 && is_below(whole))
        record(flags & AT_REMOVEDIR ? REMOVED_DIRECTORY : UNLINKED, 0, 0, 0, whole, strlen(whole));
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) { return unlink_and_record(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlink_and_record(at, path, flags); }
int rmdir(const char *path) { return unlink_and_record(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    if (unlink(path) == 0) return 0;
    return errno == EISDIR ? rmdir(path) : -1;
}

int mkdirat(int at, const char *path, mode_t mode) {
    if (log_descriptor < 0) return (int)syscall(SYS_mkdirat, at, path, mode);
    char whole[4096];
    absolute(at, path, whole, sizeof whole);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, at, path, mode);
    if (result == 0 && is_below(whole)) record(MADE_DIRECTORY, 0, 0, 0, whole, strlen(whole));
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int old_at, const char *old, int new_at, const char *new, int flags) {
    if (log_descriptor < 0) return (int)syscall(SYS_linkat, old_at, old, new_at, new, flags);
    char paths[8194];
    absolute(old_at, old, paths, 4096);
    size_t length = strlen(paths) + 1;
    absolute(new_at, new, paths + length, 4096);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_linkat, old_at, old, new_at, new, flags);
    if (result == 0 && is_below(paths + length)) record(LINKED, 0, 0, 0, paths, length + strlen(paths + length));
    pthread_mutex_unlock(&lock);
    return result;
}

int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

/* Mapping */

static void *map_and_record(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    struct stat status;
    int is_writable = (flags & MAP_TYPE) != MAP_PRIVATE && (protection & PROT_WRITE) && descriptor >= 0;
    if (is_writable && inode_of(descriptor, &status)) {
        pthread_mutex_lock(&lock);
        record(UNSEEN, status.st_ino, 0, 0, "mmap", 4);
        pthread_mutex_unlock(&lock);
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, descriptor, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    return map_and_record(address, length, protection, flags, descriptor, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off64_t offset) {
    return map_and_record(address, length, protection, flags, descriptor, offset);
}
