// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions with their C standard names (kernel/string.c; the host's own library in
// host tests). These are for kernel structures. File bytes are copied through kernel/copy.h only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef PAGEWIRE_HOST
#include <string.h>
#else
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
void *memchr(const void *s, int c, size_t len);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *s, const char *sub);
// Freestanding code has no built-in functions of these names: small constant lengths become moves,
// constant strings' lengths constants.
#define memcpy(to, from, len)  __builtin_memcpy(to, from, len)
#define memmove(to, from, len) __builtin_memmove(to, from, len)
#define memset(to, byte, len)  __builtin_memset(to, byte, len)
#define memcmp(a, b, len)      __builtin_memcmp(a, b, len)
#define strlen(s)	       __builtin_strlen(s)
#define strchr(s, c)	       __builtin_strchr(s, c)
#endif

// Copies at most size - 1 bytes and always terminates. Returns strlen(from): a result >= size means
// the text was cut. Any context.
size_t kstrlcpy(char *to, const char *from, size_t size);
// ASCII-only case folding: the C locale, which is what RFC 9110 and our command line mean.
int kstrcasecmp(const char *a, const char *b);
int kstrncasecmp(const char *a, const char *b, size_t max);
// Reads a whole decimal or 0x number; false if text is empty, has other characters, or overflows.
bool kparse_u64(const char *text, size_t len, uint64_t *value);
