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

section .text

%macro TRAP_STUB 1
	align 16
%if %1 = 8 || (%1 >= 10 && %1 <= 14) || %1 = 17 || %1 = 21 || %1 = 29 || %1 = 30
	push qword %1			; the processor pushed an error code
%else
	push qword 0
	push qword %1
%endif
	jmp trap_common
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

align 16
trap_common:
	push rax
	push rbx
	push rcx
	push rdx
	push rsi
	push rdi
	push rbp
	push r8
	push r9
	push r10
	push r11
	push r12
	push r13
	push r14
	push r15
	cld
	mov rdi, rsp
	push qword [rsp + 17 * 8]	; RIP
	push rbp
	mov rbp, rsp
	call trap_handle
	pop rbp
	add rsp, 8
	pop r15
	pop r14
	pop r13
	pop r12
	pop r11
	pop r10
	pop r9
	pop r8
	pop rbp
	pop rdi
	pop rsi
	pop rdx
	pop rcx
	pop rbx
	pop rax
	add rsp, 16			; vector, error code
	iretq

align 16
irq_common:
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
