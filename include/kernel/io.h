// SPDX-License-Identifier: BSD-2-Clause
// Port and memory-mapped I/O. Host tests bring their own functions (a fake device).
#pragma once

#include "kernel/base.h"

#ifdef PAGEWIRE_HOST
uint32_t mmio_read32(const volatile void *addr);
void mmio_write32(volatile void *addr, uint32_t value);
void outb(uint16_t port, uint8_t value);
static inline void outsb(uint16_t port, const void *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		outb(port, ((const uint8_t *)bytes)[i]);
}
uint8_t inb(uint16_t port);
void outl(uint16_t port, uint32_t value);
uint32_t inl(uint16_t port);
void outw(uint16_t port, uint16_t value);
uint16_t inw(uint16_t port);
static inline void io_wmb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#else
static inline uint32_t mmio_read32(const volatile void *addr)
{
	return *(const volatile uint32_t *)addr;
}
static inline void mmio_write32(volatile void *addr, uint32_t value)
{
	*(volatile uint32_t *)addr = value;
}
// Stores to memory that a device reads are visible before the doorbell that follows. x86 keeps stores
// in order; only the compiler must be held.
static inline void io_wmb(void)
{
	__asm__ volatile("" ::: "memory");
}
static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
// The bytes one after the other to the same port.
static inline void outsb(uint16_t port, const void *bytes, size_t count)
{
	__asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
static inline uint16_t inw(uint16_t port)
{
	uint16_t value;
	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
#endif
