// Tells when an interface comes up again after it was down.
#pragma once

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane {

class LinkWatch {
public:
    // From now on.
    [[nodiscard]] static Result<LinkWatch> open(int interface_index);

    // Readable when there is news, perhaps of other interfaces.
    [[nodiscard]] int descriptor() const { return news_.number(); }
    // Reads all news. True also when some were lost.
    [[nodiscard]] bool came_up();

private:
    LinkWatch(Descriptor news, int interface_index)
        : news_(std::move(news)), interface_index_(interface_index) {}

    Descriptor news_;
    int interface_index_;
    bool was_down_ = false;
};

}  // namespace dstm::dataplane
