// System calls without errno, for the moments in which the keeper shares its memory with a child that has not exec'ed
// yet: both would write the same errno. Used by spawn.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>

#include <linux/sched.h>
#include <sys/syscall.h>

namespace appmesh::keeper {

using ChildFunction = void (*)(void*);

#if defined(__x86_64__)

// futex(2) and the like: up to four arguments. The result or -errno.
inline long raw_syscall(long number, long a, long b, long c, long d) {
  long result;
  register long r10 asm("r10") = d;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

// The child runs function(argument), which must not return, on the stack named in args. The pid or -errno.
inline long raw_clone3(clone_args* args, std::size_t size, ChildFunction function, void* argument) {
  long result;
  register ChildFunction r12 asm("r12") = function;
  register void* r13 asm("r13") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %[argument], %%rdi\n\t"
      "call *%[function]\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(args), "S"(size), [function] "r"(r12), [argument] "r"(r13)
      : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

inline long raw_syscall(long number, long a, long b, long c, long d) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}

inline long raw_clone3(clone_args* args, std::size_t size, ChildFunction function, void* argument) {
  register long x8 asm("x8") = SYS_clone3;
  register long x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = static_cast<long>(size);
  register ChildFunction x19 asm("x19") = function;
  register void* x20 asm("x20") = argument;
  asm volatile(
      "svc 0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, %[argument]\n\t"
      "blr %[function]\n\t"
      "brk 0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), [function] "r"(x19), [argument] "r"(x20)
      : "memory");
  return x0;
}

#else
#error "appkeeper needs raw_syscall and raw_clone3 for this processor"
#endif

}  // namespace appmesh::keeper
