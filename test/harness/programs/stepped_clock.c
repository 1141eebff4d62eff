/* Preloaded into a daemon, a wall clock that a test can set while nobody else's clock moves.

   The shift, in microseconds, is an int64 in the file $STEPPED_CLOCK; whoever changes it has set the clock. What the
   kernel does for a real step is done here: CLOCK_REALTIME reads move, an absolute timerfd of that clock fires by the new
   time, and one with TFD_TIMER_CANCEL_ON_SET becomes readable with ECANCELED. Steady time is not touched, as in a real
   step. The build of the daemon knows nothing of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { kMaxFds = 65536 };
static const int64_t kSecond = 1000000;

static volatile int64_t* shift_page;
static struct Timer {
  volatile char is_wall, watched, cancelled;
  struct itimerspec wanted; /* as the daemon asked, in its own time */
} timers[kMaxFds];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watcher_once = PTHREAD_ONCE_INIT;

__attribute__((constructor)) static void open_page(void) {
  const char* path = getenv("STEPPED_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) shift_page = page;
}

static int64_t shift(void) { return shift_page ? *shift_page : 0; }

static struct timespec moved(struct timespec at, int64_t by) {
  int64_t nanoseconds = at.tv_nsec + by % kSecond * 1000;
  at.tv_sec += by / kSecond;
  while (nanoseconds < 0) nanoseconds += 1000000000, --at.tv_sec;
  while (nanoseconds >= 1000000000) nanoseconds -= 1000000000, ++at.tv_sec;
  at.tv_nsec = nanoseconds;
  return at;
}

int clock_gettime(clockid_t id, struct timespec* out) {
  int result = (int)syscall(SYS_clock_gettime, id, out);
  if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) *out = moved(*out, shift());
  return result;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

static int set_real(int fd, int flags, const struct itimerspec* value, struct itimerspec* old) {
  return (int)syscall(SYS_timerfd_settime, fd, flags, value, old);
}

static int arm(int fd, int flags, struct itimerspec* old) {
  struct itimerspec real = timers[fd].wanted;
  if (real.it_value.tv_sec != 0 || real.it_value.tv_nsec != 0) {
    real.it_value = moved(real.it_value, -shift());
    if (real.it_value.tv_sec < 0) real.it_value = (struct timespec){0, 1};
  }
  return set_real(fd, flags, &real, old);
}

static void* watch(void* unused) {
  (void)unused;
  int64_t known = shift();
  for (;;) {
    const struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    if (shift() == known) continue;
    known = shift();
    pthread_mutex_lock(&mutex);
    for (int fd = 0; fd < kMaxFds; ++fd) {
      if (!timers[fd].is_wall) continue;
      if (timers[fd].watched) {
        const struct itimerspec now = {{0, 0}, {0, 1}};
        timers[fd].cancelled = 1;
        set_real(fd, 0, &now, NULL);
      } else {
        arm(fd, TFD_TIMER_ABSTIME, NULL);
      }
    }
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void start_watcher(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, watch, NULL) == 0) pthread_detach(thread);
}

int timerfd_create(int id, int flags) {
  int fd = (int)syscall(SYS_timerfd_create, id, flags);
  if (fd < 0 || fd >= kMaxFds || !shift_page) return fd;
  pthread_mutex_lock(&mutex);
  timers[fd] = (struct Timer){0};
  pthread_mutex_unlock(&mutex);
  timers[fd].is_wall = id == CLOCK_REALTIME;
  if (id == CLOCK_REALTIME) pthread_once(&watcher_once, start_watcher);
  return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec* value, struct itimerspec* old) {
  if (fd < 0 || fd >= kMaxFds || !timers[fd].is_wall || !(flags & TFD_TIMER_ABSTIME)) return set_real(fd, flags, value, old);
  pthread_mutex_lock(&mutex);
  timers[fd].wanted = *value;
  timers[fd].watched = (flags & TFD_TIMER_CANCEL_ON_SET) != 0;
  int result = arm(fd, flags, old);
  pthread_mutex_unlock(&mutex);
  return result;
}

ssize_t read(int fd, void* buffer, size_t size) {
  ssize_t got = syscall(SYS_read, fd, buffer, size);
  if (fd < 0 || fd >= kMaxFds || !timers[fd].cancelled) return got;
  timers[fd].cancelled = 0;
  errno = ECANCELED;
  return -1;
}
