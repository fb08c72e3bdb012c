/* The standard library comes built without the sanitizer, which therefore does not see that a thread that had to wait for
 * a Mutex comes after the one that let it go: a lock that is free is taken by code that is compiled with its caller, a lock
 * that is not by a function of the library. The linker brings calls of that function here (--wrap), and this says so. */

void __tsan_acquire(void *address);

/* CONTENDED is `std::sys::sync::mutex::futex::Mutex::lock_contended(&self)` as this compiler calls it. */
#define JOIN(a, b) a##b
#define NAMED(prefix, name) JOIN(prefix, name)

void NAMED(__real_, CONTENDED)(void *mutex);

void NAMED(__wrap_, CONTENDED)(void *mutex) {
    NAMED(__real_, CONTENDED)(mutex);
    __tsan_acquire(mutex);
}
