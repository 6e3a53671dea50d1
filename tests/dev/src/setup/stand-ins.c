// What libfaketime looks for and glibc does not have (any more) on this machine. Where it looks in vain, the loader asks for
// memory to say so; in a program with an allocator of its own (Envoy), which then asks for the time, that never returns.

int __ftime(void *time) { (void)time; return -1; }
static int no_timer(void) { return -1; }

__asm__(".symver no_timer_settime, timer_settime@GLIBC_2.2");
__asm__(".symver no_timer_gettime, timer_gettime@GLIBC_2.2");
int no_timer_settime(void) { return no_timer(); }
int no_timer_gettime(void) { return no_timer(); }
