// See the header.
#include "kea-hook/ending_queue.hpp"

namespace dstm::kea {

void EndingQueue::push(Ending ending) {
    {
        const std::lock_guard lock(mutex_);
        endings_.push_back(std::move(ending));
    }
    wake_();
}

std::vector<Ending> EndingQueue::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(endings_, {});
}

}  // namespace dstm::kea
