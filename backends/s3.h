/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 backend (AWS, Ceph RGW, MinIO, R2 and the like). Its keys are in s3_conf.c. */
#ifndef WEIR_S3_H
#define WEIR_S3_H
#include "backend.h"

extern const struct weir_backend_ops weir_backend_s3;

#endif
