/*
 * A disk that is slow, fails, is full, or forgets: loaded with LD_PRELOAD before the C library, into any process that writes
 * through it (a broker with its embedded store, ZooKeeper's JVM). test/support/faulty-disk.ts is its other half.
 *
 *   FAULTY_DISK_FOLDERS   folders, separated by colons: files and folders in them and below are concerned, nothing else is
 *   FAULTY_DISK_CONTROL   a file with words, read again whenever it has changed; without it the disk is well
 *       sync-ms=N         each sync takes N ms longer
 *       eio=sync          syncs fail with EIO; eio=write: writes do
 *       room=BYTES        the files right in the first folder have so much place together; beyond it ENOSPC, statfs knows it
 *   FAULTY_DISK_JOURNAL   where is written down, before it changes, what each file was since its last sync: after kill -9 of the
 *                         processes, losePower() of faulty-disk.ts takes back what was not synced. One journal a process.
 *
 * A record of the journal: u32 kind, u32 bytes of path, u64 offset, u64 size before, u64 bytes of data, path, data; kinds below.
 * Not seen: mmap, writev, and writes of Bun's own node:fs, which are system calls (its sync, truncate, rename and unlink are seen).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CHANGED = 1, SYNCED = 2, CREATED = 3, UNLINKED = 4, RENAMED = 5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char control[512];
static struct timespec controlRead;

#define REAL(type, name, ...)                                                                                                    \
  static type (*real)(__VA_ARGS__);                                                                                              \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static const char *setting(const char *word) {
  const char *path = getenv("FAULTY_DISK_CONTROL");
  struct stat now;
  if (!path || stat(path, &now) != 0) return NULL;
  if (now.st_mtim.tv_sec != controlRead.tv_sec || now.st_mtim.tv_nsec != controlRead.tv_nsec) {
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, control, sizeof control - 1);
    if (file >= 0) close(file);
    control[length < 0 ? 0 : length] = 0;
    controlRead = now.st_mtim;
  }
  const char *found = strstr(control, word);
  return found ? found + strlen(word) : NULL;
}

static int isConcerned(const char *path) {
  const char *folders = getenv("FAULTY_DISK_FOLDERS");
  while (folders && *folders) {
    size_t length = strcspn(folders, ":");
    if (length > 0 && strncmp(path, folders, length) == 0 && (path[length] == '/' || path[length] == 0)) return 1;
    folders += length + (folders[length] == ':');
  }
  return 0;
}

/* The path of an open file or folder that is concerned; 0: it is not. */
static int pathOf(int fd, char path[PATH_MAX], struct stat *now) {
  char link[64];
  if (fstat(fd, now) != 0 || !(S_ISREG(now->st_mode) || S_ISDIR(now->st_mode))) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return isConcerned(path);
}

static int absolute(const char *given, char path[PATH_MAX]) {
  if (given[0] == '/') snprintf(path, PATH_MAX, "%s", given);
  else {
    char folder[PATH_MAX / 2];
    if (!getcwd(folder, sizeof folder)) return 0;
    snprintf(path, PATH_MAX, "%s/%.2000s", folder, given);
  }
  return isConcerned(path);
}

static int journal(void) {
  static int file = -2;
  if (file == -2) {
    const char *path = getenv("FAULTY_DISK_JOURNAL");
    file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  }
  return file;
}

static void note(uint32_t kind, const char *path, uint64_t offset, uint64_t size, const void *data, uint64_t bytes) {
  if (journal() < 0) return;
  uint32_t pathBytes = strlen(path);
  size_t length = 32 + pathBytes + bytes;
  char *record = malloc(length);
  memcpy(record, &kind, 4);
  memcpy(record + 4, &pathBytes, 4);
  memcpy(record + 8, &offset, 8);
  memcpy(record + 16, &size, 8);
  memcpy(record + 24, &bytes, 8);
  memcpy(record + 32, path, pathBytes);
  if (bytes) memcpy(record + 32 + pathBytes, data, bytes);
  if (syscall(SYS_write, journal(), record, length) != (long)length) abort();
  free(record);
}

/* What stands from `offset` on, up to `bytes`, is about to change. */
static void noteChange(const char *path, uint64_t offset, uint64_t bytes, const struct stat *now) {
  if (journal() < 0) return;
  uint64_t size = now->st_size, end = offset + bytes < size ? offset + bytes : size;
  uint64_t kept = end > offset ? end - offset : 0;
  char *before = malloc(kept + 1);
  int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || (kept && syscall(SYS_pread64, file, before, kept, offset) != (long)kept)) abort();
  close(file);
  note(CHANGED, path, offset, size, before, kept);
  free(before);
}

/* What the files in the first folder take up, in bytes. */
static uint64_t usedRoom(void) {
  char folder[PATH_MAX];
  const char *folders = getenv("FAULTY_DISK_FOLDERS");
  if (!folders) return 0;
  snprintf(folder, sizeof folder, "%.*s", (int)strcspn(folders, ":"), folders);
  uint64_t used = 0;
  DIR *all = opendir(folder);
  for (struct dirent *one; all && (one = readdir(all));) {
    struct stat now;
    if (fstatat(dirfd(all), one->d_name, &now, 0) == 0 && S_ISREG(now.st_mode)) used += now.st_size;
  }
  if (all) closedir(all);
  return used;
}

/* Why a file may not be written to now; 0: it may. */
static int refusal(uint64_t end, const struct stat *now) {
  const char *eio = setting("eio=write"), *room = setting("room=");
  if (eio) return EIO;
  uint64_t growth = end > (uint64_t)now->st_size ? end - now->st_size : 0;
  return room && growth && usedRoom() + growth > strtoull(room, NULL, 10) ? ENOSPC : 0;
}

static ssize_t writeAt(int fd, const void *data, size_t bytes, off_t offset, int isPositional) {
  char path[PATH_MAX];
  struct stat now;
  long number = isPositional ? SYS_pwrite64 : SYS_write;
  if (bytes == 0 || !pathOf(fd, path, &now)) return syscall(number, fd, data, bytes, offset);
  pthread_mutex_lock(&lock);
  int isAppend = fcntl(fd, F_GETFL) & O_APPEND;
  off_t at = isAppend ? now.st_size : isPositional ? offset : lseek(fd, 0, SEEK_CUR);
  ssize_t result = -1;
  int error = refusal(at + bytes, &now);
  if (!error) {
    noteChange(path, at, bytes, &now);
    result = syscall(number, fd, data, bytes, offset);
    error = errno;
  }
  pthread_mutex_unlock(&lock);
  if (result < 0) errno = error;
  return result;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) { return writeAt(fd, data, bytes, offset, 1); }
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return writeAt(fd, data, bytes, offset, 1); }
ssize_t write(int fd, const void *data, size_t bytes) { return writeAt(fd, data, bytes, 0, 0); }

static int sync_(int fd, long number) {
  char path[PATH_MAX];
  struct stat now;
  if (!pathOf(fd, path, &now)) return syscall(number, fd);
  pthread_mutex_lock(&lock);
  const char *ms = setting("sync-ms="), *eio = setting("eio=sync");
  long wait = ms ? atol(ms) : 0;
  pthread_mutex_unlock(&lock);
  if (wait > 0) usleep(wait * 1000);
  if (eio) {
    errno = EIO;
    return -1;
  }
  /* With a journal it is the journal that makes it safe: the machine stays up. */
  int result = journal() < 0 ? syscall(number, fd) : 0;
  pthread_mutex_lock(&lock);
  if (result == 0) note(SYNCED, path, 0, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int fsync(int fd) { return sync_(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_(fd, SYS_fdatasync); }

static int truncate_(int fd, off_t size) {
  char path[PATH_MAX];
  struct stat now;
  if (!pathOf(fd, path, &now)) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  int result = -1, error = refusal(size, &now);
  if (!error) {
    if (size != now.st_size) noteChange(path, size, now.st_size > size ? now.st_size - size : 0, &now);
    result = syscall(SYS_ftruncate, fd, size);
    error = errno;
  }
  pthread_mutex_unlock(&lock);
  if (result < 0) errno = error;
  return result;
}

int ftruncate(int fd, off_t size) { return truncate_(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_(fd, size); }

/* A file that loses its name is kept under another one, beside the journal. */
static void noteUnlink(const char *path) {
  static int count;
  char kept[PATH_MAX];
  if (journal() < 0 || access(path, F_OK) != 0) return;
  snprintf(kept, sizeof kept, "%.3000s.%d.%d", getenv("FAULTY_DISK_JOURNAL"), getpid(), ++count);
  if (link(path, kept) == 0) note(UNLINKED, path, 0, 0, kept, strlen(kept));
}

int unlink(const char *given) {
  REAL(int, "unlink", const char *);
  char path[PATH_MAX];
  if (!absolute(given, path)) return real(given);
  pthread_mutex_lock(&lock);
  noteUnlink(path);
  int result = real(given);
  pthread_mutex_unlock(&lock);
  return result;
}

int rename(const char *given, const char *to) {
  REAL(int, "rename", const char *, const char *);
  char path[PATH_MAX], target[PATH_MAX];
  if (!absolute(given, path) || !absolute(to, target)) return real(given, to);
  pthread_mutex_lock(&lock);
  noteUnlink(target);
  note(RENAMED, path, 0, 0, target, strlen(target));
  int result = real(given, to);
  pthread_mutex_unlock(&lock);
  return result;
}

static int open_(int folder, const char *given, int flags, mode_t mode) {
  char path[PATH_MAX];
  if (!(flags & O_CREAT) || folder != AT_FDCWD || !absolute(given, path)) return syscall(SYS_openat, folder, given, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat now;
  int isNew = stat(path, &now) != 0;
  if (!isNew && (flags & O_TRUNC)) noteChange(path, 0, now.st_size, &now);
  int file = syscall(SYS_openat, folder, given, flags, mode);
  if (isNew && file >= 0) note(CREATED, path, 0, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return file;
}

#define MODE                                                                                                                     \
  va_list rest;                                                                                                                  \
  va_start(rest, flags);                                                                                                         \
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                                      \
  va_end(rest)

int open(const char *path, int flags, ...) { MODE; return open_(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return open_(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE; return open_(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE; return open_(folder, path, flags | O_LARGEFILE, mode); }

/* The disk is as small as `room` says. */
static int statfs_(const char *given, struct statfs *disk) {
  char path[PATH_MAX];
  int result = syscall(SYS_statfs, given, disk);
  if (result != 0 || !absolute(given, path)) return result;
  pthread_mutex_lock(&lock);
  const char *room = setting("room=");
  if (room) {
    uint64_t all = strtoull(room, NULL, 10), used = usedRoom();
    disk->f_blocks = all / disk->f_bsize;
    disk->f_bfree = disk->f_bavail = (all > used ? all - used : 0) / disk->f_bsize;
  }
  pthread_mutex_unlock(&lock);
  return 0;
}

int statfs(const char *path, struct statfs *disk) { return statfs_(path, disk); }
int statfs64(const char *path, struct statfs64 *disk) { return statfs_(path, (struct statfs *)disk); }
