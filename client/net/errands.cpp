// A number goes out with each piece of work, and comes back when it is done.
#include "client/net/errands.hpp"

#include <mutex>
#include <system_error>
#include <thread>

namespace dstm::client {

// What a thread may still touch when the owner has gone.
struct Errands::Shared {
    std::mutex mutex;
    asio::io_context& context;  // only while there is an owner
    Errands* owner;
};

Errands::Errands(asio::io_context& context, std::size_t most)
    : shared_(new Shared{{}, context, this}), most_(most) {}

Errands::~Errands() {
    const std::lock_guard lock(shared_->mutex);
    shared_->owner = nullptr;
}

bool Errands::begin(std::function<void()> work, std::function<void()> done) {
    if (waiting_.size() >= most_) return false;
    const auto number = ++last_;
    try {
        std::thread([shared = shared_, number, work = std::move(work)]() mutable {
            std::exchange(work, nullptr)();
            // Locked, so that the context is still there when it is told.
            const std::lock_guard lock(shared->mutex);
            if (shared->owner == nullptr) return;
            asio::post(shared->context, [shared, number] {
                if (shared->owner != nullptr) shared->owner->finish(number);
            });
        }).detach();
    } catch (const std::system_error&) {
        return false;
    }
    waiting_.emplace(number, std::move(done));
    return true;
}

void Errands::finish(std::uint64_t number) {
    auto entry = waiting_.extract(number);
    if (!entry.empty()) entry.mapped()();
}

}  // namespace dstm::client
