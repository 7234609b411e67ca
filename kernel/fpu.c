// SPDX-License-Identifier: BSD-2-Clause
// The registers that the kernel itself never uses (it is built with -mgeneral-regs-only): x87, SSE, AVX. Each task has
// an area for them; they are saved when it stops running and loaded when it runs again. Intel SDM volume 1,
// chapter 13 (XSAVE) and 10.5 (FXSAVE).
#include "kernel/cpu_private.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/process.h"

enum { XSTATE_X87 = BIT(0), XSTATE_SSE = BIT(1), XSTATE_AVX = BIT(2) };
#define FXSAVE_BYTES   512
#define MXCSR_DEFAULT  0x1f80
#define FCW_DEFAULT    0x37f
#define MXCSR_MASK_OLD 0xffbf // of processors that say 0 (SDM volume 1, 11.6.6)

static uint64_t components; // constant after boot: what XSAVE saves
static uint32_t area_bytes; // constant after boot
static uint32_t mxcsr_mask; // constant after boot: bits that this processor's MXCSR has

void fpu_init(void)
{
	static char probe[FXSAVE_BYTES] __attribute__((aligned(16)));

	__asm__ volatile("fxsave64 (%0)" ::"r"(probe) : "memory");
	mxcsr_mask = *(const uint32_t *)(probe + 28);
	if (!mxcsr_mask)
		mxcsr_mask = MXCSR_MASK_OLD;
	area_bytes = FXSAVE_BYTES;
	if (!cpu_has.xsave)
		return;
	components = XSTATE_X87 | XSTATE_SSE | (cpu_has.avx ? XSTATE_AVX : 0);
	__asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)components), "d"(0));
	area_bytes = cpuid(13, 0).ebx;
	ASSERT(area_bytes <= FPU_AREA);
}

uint32_t fpu_mxcsr_mask(void)
{
	return mxcsr_mask;
}

uint32_t fpu_bytes(void)
{
	return area_bytes;
}

// As a program finds them at its start. An XSAVE header of zeros means: initial state.
void fpu_reset(void *area)
{
	memset(area, 0, FPU_AREA);
	*(uint16_t *)area = FCW_DEFAULT;
	*(uint32_t *)((char *)area + 24) = MXCSR_DEFAULT;
	if (components)
		*(uint64_t *)((char *)area + FXSAVE_BYTES) = XSTATE_X87 | XSTATE_SSE;
}

void fpu_save(void *area)
{
	if (components)
		__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"((uint32_t)components), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_restore(const void *area)
{
	if (components)
		__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"((uint32_t)components), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
