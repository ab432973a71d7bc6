// A clock that can be stepped: what tells the time of day adds the seconds that stand in the file CLOCK_AHEAD, a number of eight
// bytes. For one process, by LD_PRELOAD; Redis takes its time from here, and measures how long things take elsewhere.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *held = file < 0 ? MAP_FAILED : mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (held != MAP_FAILED) ahead = held;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec real;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &real);
    now->tv_sec = real.tv_sec + (ahead ? *ahead : 0);
    now->tv_usec = real.tv_nsec / 1000;
    return 0;
}
