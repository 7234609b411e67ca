; SPDX-License-Identifier: BSD-2-Clause
; Entry stubs of all 256 vectors. Exceptions (0..31) save every register into a struct trap_frame and
; call trap_handle. Interrupts (32..255) save what C may change and call irq_dispatch with their row of
; irq_vectors: this is stage 1 of the read path and every instruction counts. Vector 255 (spurious) only
; counts.
;
; Both push the interrupted RIP and RBP as if the interrupted code had called them, so that a backtrace
; walks through.

extern trap_handle
extern irq_dispatch
extern irq_vectors
extern irq_spurious
global trap_stubs
global irq_stubs

extern user_return
extern cpu_smap

%include "kernel/registers.inc"

section .text

%macro TRAP_STUB 1
	align 16
%if %1 = 8 || (%1 >= 10 && %1 <= 14) || %1 = 17 || %1 = 21 || %1 = 29 || %1 = 30
	push qword %1			; the processor pushed an error code
%else
	push qword 0
	push qword %1
%endif
%if %1 = 2 || %1 = 8 || %1 = 18
	jmp trap_anywhere
%else
	jmp trap_common
%endif
%endmacro

%macro IRQ_STUB 1
	align 16
%if %1 = 255
	inc qword [rel irq_spurious]	; no end of interrupt: SDM 11.9
	iretq
%else
	push rdi
	mov rdi, strict dword irq_vectors + 64 * %1
	jmp irq_common
%endif
%endmacro

align 16
trap_stubs:
%assign vector 0
%rep 32
	TRAP_STUB vector
%assign vector vector + 1
%endrep

align 16
irq_stubs:
%assign vector 32
%rep 224
	IRQ_STUB vector
%assign vector vector + 1
%endrep

; NMI, double fault and machine check may come between a program's entry and its SWAPGS (or the other
; way round), so whose GS it is says GS itself: the kernel's addresses are negative. None of them returns.
align 16
trap_anywhere:
	push rax
	push rcx
	push rdx
	mov ecx, 0xc0000101		; GS base
	rdmsr
	test edx, edx
	js .kernel
	swapgs
.kernel:
	pop rdx
	pop rcx
	pop rax
	jmp trap_save

align 16
trap_common:
	test byte [rsp + 3 * 8], 3	; CS: from ring 3?
	jz trap_save
	swapgs
	SHUT_SMAP
trap_save:
	SAVE_REGISTERS rdi
	cld
	mov rdi, rsp
	push qword [rsp + 17 * 8]	; RIP
	push rbp
	mov rbp, rsp
	call trap_handle
	pop rbp
	add rsp, 8
	test byte [rsp + 18 * 8], 3	; CS
	jnz user_return
	RESTORE_REGISTERS
	add rsp, 16			; vector, error code
	iretq

align 16
irq_common:
	test byte [rsp + 2 * 8], 3	; CS: from ring 3?
	jnz irq_user
	push rax
	push rcx
	push rdx
	push rsi
	push r8
	push r9
	push r10
	push r11
	cld
	push qword [rsp + 9 * 8]	; RIP
	push rbp
	mov rbp, rsp
	call irq_dispatch
	pop rbp
	add rsp, 8
	pop r11
	pop r10
	pop r9
	pop r8
	pop rsi
	pop rdx
	pop rcx
	pop rax
	pop rdi
	iretq

; From ring 3: all registers are saved, as a struct trap_frame, for on the way back a signal may be
; delivered or the program may end. The stub's RDI lies where the frame has its error code.
align 16
irq_user:
	swapgs
	SHUT_SMAP
	push rdi			; vector: the row
	SAVE_REGISTERS qword [rsp + 6 * 8] ; RDI: after the five above it, and the row
	cld
	push qword [rsp + 17 * 8]	; RIP
	push rbp
	mov rbp, rsp
	call irq_dispatch
	add rsp, 16
	jmp user_return
