// Locks of the standard library for Cyrus SASL (sasl_set_mutex(3)).
#include "common/sasl/process.hpp"

#include <mutex>

#include <sasl/sasl.h>

namespace dstm::sasl {
namespace {

void* make_mutex() { return new std::mutex; }
int lock_mutex(void* mutex) {
    static_cast<std::mutex*>(mutex)->lock();
    return SASL_OK;
}
int unlock_mutex(void* mutex) {
    static_cast<std::mutex*>(mutex)->unlock();
    return SASL_OK;
}
void free_mutex(void* mutex) { delete static_cast<std::mutex*>(mutex); }

}  // namespace

void give_locks() { sasl_set_mutex(make_mutex, lock_mutex, unlock_mutex, free_mutex); }

}  // namespace dstm::sasl
