// Tells when a file in the folder of definitions may have been mended. It watches only between start() and stop(), so a
// daemon whose definitions are all good never wakes up for it. Engine thread only.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "platform/inotify.h"

namespace appmesh::engine {

class DefinitionWatch {
 public:
  // `changed` gets the name of an app, or an empty text: anything may have changed.
  DefinitionWatch(boost::asio::io_context& context, std::filesystem::path folder,
                  std::function<void(const std::string& name)> changed);

  void start();
  void stop();

 private:
  void wait();
  void read();

  boost::asio::io_context& context_;
  const std::filesystem::path folder_;
  std::function<void(const std::string& name)> changed_;
  std::optional<platform::Inotify> inotify_;
  std::optional<boost::asio::posix::stream_descriptor> descriptor_;
  int folder_watch_ = -1;
};

}  // namespace appmesh::engine
