// System calls without errno, for the child that shares the keeper's memory until it execs: both run at the same time
// and would write the same errno. Used by spawn.cpp and spawn_child.cpp only.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <linux/sched.h>
#include <sys/syscall.h>

namespace appmesh::keeper {

using ChildFunction = void (*)(void*);

#if defined(__x86_64__)

inline long raw_syscall5(long number, long a, long b, long c, long d, long e) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
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

inline long raw_syscall5(long number, long a, long b, long c, long d, long e) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
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
#error "appkeeper needs raw_syscall5 and raw_clone3 for this processor"
#endif

inline long to_register(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}
template <typename T>
  requires std::is_pointer_v<T>
long to_register(T* pointers) {
  return reinterpret_cast<long>(pointers);
}
template <std::integral T>
long to_register(T number) {
  return static_cast<long>(number);
}

// Up to five arguments, numbers or pointers. The result or -errno.
template <typename... Arguments>
long raw_syscall(long number, Arguments... arguments) {
  static_assert(sizeof...(arguments) <= 5);
  const long registers[6] = {to_register(arguments)...};
  return raw_syscall5(number, registers[0], registers[1], registers[2], registers[3], registers[4]);
}

}  // namespace appmesh::keeper
