// See the header.
#include "kea-hook/batch_task.hpp"

#include "kea-hook/json_line.hpp"

namespace dstm::kea {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::data::ElementPtr;

BatchTask::BatchTask(const ConstElementPtr& commands, Run run)
    : Task("lease-batch"),
      items_(commands->listValue()),
      run_(std::move(run)),
      responses_(Element::createList()) {}

std::optional<Reply> BatchTask::advance() {
    if (next_ < items_.size()) {
        const ElementPtr response = to_element(run_one(items_[next_++]));
        size_ += size_as_json(response);
        responses_->add(response);
    }
    if (next_ < items_.size()) return std::nullopt;
    ElementPtr map = Element::createMap();
    map->set("responses", responses_);
    return Reply{0, std::to_string(items_.size()) + " commands", map};
}

Reply BatchTask::run_one(const ConstElementPtr& item) const {
    if (size_ > answer_size_max) {
        return to_reply({Reason::bad_request, "argument 'commands': the answer is too long"});
    }
    const auto name = item->getType() == Element::map ? item->get("command") : nullptr;
    if (!name || name->getType() != Element::string) {
        return to_reply({Reason::bad_request,
                         "argument 'commands': an entry's 'command' must be a "
                         "string"});
    }
    return run_(name->stringValue(), item->get("arguments"));
}

}  // namespace dstm::kea
