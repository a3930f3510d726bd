CREATE DATABASE agentmesh_registry;
CREATE DATABASE agentmesh_task;
CREATE DATABASE agentmesh_auth;
CREATE DATABASE agentmesh_tool_catalog;
CREATE DATABASE agentmesh_analytics;
